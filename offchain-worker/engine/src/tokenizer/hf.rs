//! A tokenizer from the files of the Hugging Face layout.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer as Inner;

use super::bytes::Decoding;
use super::{Parts, Tokenizer, TokenizerError};
use crate::weights::model::read_json;

/// Builds the tokenizer of `json`, the content of `tokenizer.json`, with what the other files of
/// `folder` say about its special tokens and its chat template.
pub(crate) fn load(folder: &Path, json: &[u8]) -> Result<Tokenizer, TokenizerError> {
    let inner = parse(json)?;
    let decoding = decoding(&inner)?;
    let settings = optional_json(folder, "tokenizer_config.json")?;
    let mut end_tokens = BTreeSet::new();
    for name in ["config.json", "generation_config.json"] {
        let file = optional_json(folder, name)?;
        end_tokens.extend(ids(&file["eos_token_id"]));
    }
    let (bos_text, eos_text) = (token(&settings["bos_token"]), token(&settings["eos_token"]));
    end_tokens.extend(inner.token_to_id(&eos_text));
    let chat_template = match template(&settings["chat_template"]) {
        Some(text) => Some(text),
        None => optional_text(folder, "chat_template.jinja")?,
    };
    Tokenizer::from_parts(Parts {
        inner,
        decoding,
        end_tokens,
        bos: None,
        chat_template,
        bos_text,
        eos_text,
    })
}

/// The tokenizers crate panics on some files that are JSON but no tokenizer, and on all that are no
/// JSON.
fn parse(json: &[u8]) -> Result<Inner, TokenizerError> {
    let corrupt = |error: String| TokenizerError::Corrupt(format!("tokenizer.json: {error}"));
    serde_json::from_slice::<serde::de::IgnoredAny>(json)
        .map_err(|error| corrupt(error.to_string()))?;
    std::panic::catch_unwind(|| Inner::from_bytes(json))
        .map_err(|_| corrupt("its structure is none the tokenizers crate knows".into()))?
        .map_err(|error| corrupt(error.to_string()))
}

/// How the tokenizer's own decoder reads tokens.
fn decoding(inner: &Inner) -> Result<Decoding, TokenizerError> {
    let decoder = serde_json::to_value(inner.get_decoder())
        .map_err(|error| TokenizerError::Corrupt(error.to_string()))?;
    let steps = match decoder["decoders"].as_array() {
        Some(steps) => steps.clone(),
        None => vec![decoder],
    };
    let find = |kind: &str| steps.iter().find(|step| step["type"] == kind);
    if find("ByteLevel").is_some() {
        Ok(Decoding::ByteLevel)
    } else if find("ByteFallback").is_some() {
        let strip = find("Strip").is_some_and(|step| step["start"] == 1);
        Ok(Decoding::SentencePiece {
            strip_first_space: strip,
        })
    } else {
        Err(TokenizerError::Unsupported(
            "it decodes neither bytes nor SentencePiece".into(),
        ))
    }
}

fn optional_text(folder: &Path, name: &str) -> Result<Option<String>, TokenizerError> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    String::from_utf8(read_json(&path)?)
        .map(Some)
        .map_err(|_| TokenizerError::Corrupt(format!("{name} is not UTF-8")))
}

/// A JSON file, or null if there is none.
fn optional_json(folder: &Path, name: &str) -> Result<Value, TokenizerError> {
    match optional_text(folder, name)? {
        None => Ok(Value::Null),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| TokenizerError::Corrupt(format!("{name}: {error}"))),
    }
}

/// One id, or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value.as_array() {
        Some(list) => list.iter().filter_map(one).collect(),
        None => one(value).into_iter().collect(),
    }
}

/// A token's text: a string, or an object with its content.
fn token(value: &Value) -> String {
    value
        .as_str()
        .or(value["content"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// The template: a string, or the one called "default" of several.
fn template(value: &Value) -> Option<String> {
    if let Some(list) = value.as_array() {
        let default = list.iter().find(|entry| entry["name"] == "default")?;
        return default["template"].as_str().map(str::to_owned);
    }
    value.as_str().map(str::to_owned)
}
