//! A tokenizer from the vocabulary within a GGUF file.

use std::collections::BTreeSet;

use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer as Inner};

use super::bytes::Decoding;
use super::{Parts, Tokenizer, TokenizerError};
use crate::weights::gguf::{Metadata, MetadataValue};

/// Types of tokens in `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// How Llama 3 cuts text into words before merging.
const LLAMA_3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2 does the same, but takes digits one by one.
const QWEN_2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn corrupt(error: impl ToString) -> TokenizerError {
    TokenizerError::Corrupt(error.to_string())
}

/// Builds the tokenizer that a file's metadata describes.
pub(crate) fn load(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let text = |key: &str| metadata.get(key).and_then(MetadataValue::as_str);
    let id = |name: &str| {
        let value = metadata.get(&format!("tokenizer.ggml.{name}_token_id"))?;
        value.as_u64().and_then(|id| u32::try_from(id).ok())
    };
    match text("tokenizer.ggml.model") {
        Some("gpt2") => {}
        Some(other) => {
            return Err(TokenizerError::Unsupported(format!(
                "the vocabulary is of type {other:?}"
            )));
        }
        None => {
            return Err(TokenizerError::Unsupported(
                "the file holds no vocabulary".into(),
            ))
        }
    }
    let tokens = metadata
        .strings("tokenizer.ggml.tokens")?
        .ok_or_else(|| corrupt("tokenizer.ggml.tokens is missing"))?;
    let merges = metadata
        .strings("tokenizer.ggml.merges")?
        .ok_or_else(|| corrupt("tokenizer.ggml.merges is missing"))?;
    let types = metadata
        .integers("tokenizer.ggml.token_type")?
        .unwrap_or_default();

    let mut inner = Inner::new(byte_pairs(&tokens, &merges, text("tokenizer.ggml.pre"))?);
    set_words(&mut inner, text("tokenizer.ggml.pre").unwrap_or("default"))?;
    inner.with_decoder(Some(ByteLevel::default()));
    for (token, kind) in tokens.iter().zip(&types) {
        if *kind == CONTROL || *kind == USER_DEFINED {
            let special = *kind == CONTROL;
            let added = AddedToken::from(token.clone(), special).normalized(false);
            if special {
                inner.add_special_tokens(&[added]);
            } else {
                inner.add_tokens(&[added]);
            }
        }
    }

    let name = |id: Option<u32>| {
        id.and_then(|id| tokens.get(id as usize))
            .cloned()
            .unwrap_or_default()
    };
    let wants_bos = metadata
        .get("tokenizer.ggml.add_bos_token")
        .and_then(MetadataValue::as_bool)
        .unwrap_or(text("tokenizer.ggml.pre") == Some("llama-bpe"));
    let end_tokens: BTreeSet<u32> = ["eos", "eot", "eom"].into_iter().filter_map(id).collect();
    Tokenizer::from_parts(Parts {
        inner,
        decoding: Decoding::ByteLevel,
        end_tokens,
        bos: id("bos").filter(|_| wants_bos),
        chat_template: text("tokenizer.chat_template").map(str::to_owned),
        bos_text: name(id("bos")),
        eos_text: name(id("eos")),
    })
}

/// The merges over the vocabulary.
fn byte_pairs(
    tokens: &[String],
    merges: &[String],
    pre: Option<&str>,
) -> Result<BPE, TokenizerError> {
    let mut vocab = Vocab::default();
    for (id, token) in tokens.iter().enumerate() {
        let id = u32::try_from(id).map_err(corrupt)?;
        if vocab.insert(token.clone(), id).is_some() {
            return Err(corrupt(format!("the token {token:?} stands twice")));
        }
    }
    let pairs = merges
        .iter()
        .map(|merge| {
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| corrupt(format!("the merge {merge:?} is no pair")))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<_, TokenizerError>>()?;
    BPE::builder()
        .vocab_and_merges(vocab, pairs)
        // Llama 3 takes a word that is a token as it is, whatever the merges say.
        .ignore_merges(is_llama_3(pre.unwrap_or_default()))
        .build()
        .map_err(corrupt)
}

fn is_llama_3(pre: &str) -> bool {
    matches!(pre, "llama-bpe" | "llama3" | "llama-v3")
}

/// Sets how text is cut into words before merging.
fn set_words(inner: &mut Inner, pre: &str) -> Result<(), TokenizerError> {
    let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    let split = |pattern: &str| {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map(PreTokenizerWrapper::from)
            .map_err(corrupt)
    };
    let steps = match pre {
        "default" | "gpt-2" | "gpt2" => vec![bytes(true)],
        "smollm" => vec![PreTokenizerWrapper::from(Digits::new(true)), bytes(true)],
        "qwen2" => {
            inner.with_normalizer(Some(NFC));
            vec![split(QWEN_2_WORDS)?, bytes(false)]
        }
        pre if is_llama_3(pre) => vec![split(LLAMA_3_WORDS)?, bytes(false)],
        other => {
            let what = format!("words are cut in the way called {other:?}");
            return Err(TokenizerError::Unsupported(what));
        }
    };
    inner.with_pre_tokenizer(Some(Sequence::new(steps)));
    Ok(())
}
