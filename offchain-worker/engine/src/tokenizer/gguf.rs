//! A tokenizer from the vocabulary within a GGUF file.

use std::collections::BTreeSet;

use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers, NFC};
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

/// How llama.cpp cuts the words of a file that does not say how: by each of these in turn.
const DEFAULT_WORDS: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9]{3}",
];

fn corrupt(error: impl ToString) -> TokenizerError {
    TokenizerError::Corrupt(error.to_string())
}

/// The vocabulary of a file.
struct Vocabulary<'a> {
    metadata: &'a Metadata,
    tokens: Vec<String>,
    /// By token; empty where the file has none.
    types: Vec<i64>,
}

impl<'a> Vocabulary<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.metadata
            .get(&format!("tokenizer.ggml.{name}"))
            .and_then(MetadataValue::as_str)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.metadata
            .get(&format!("tokenizer.ggml.{name}"))
            .and_then(MetadataValue::as_bool)
    }

    /// The token that the file calls `bos`, `eos` and so on.
    fn id(&self, name: &str) -> Option<u32> {
        let value = self
            .metadata
            .get(&format!("tokenizer.ggml.{name}_token_id"))?;
        value.as_u64().and_then(|id| u32::try_from(id).ok())
    }

    /// The name of that token; empty if there is none.
    fn name(&self, name: &str) -> String {
        let id = self.id(name).map(|id| id as usize);
        id.and_then(|id| self.tokens.get(id))
            .cloned()
            .unwrap_or_default()
    }

    /// Token names to ids.
    fn ids(&self) -> Result<Vocab, TokenizerError> {
        let mut vocab = Vocab::default();
        for (id, token) in self.tokens.iter().enumerate() {
            let id = u32::try_from(id).map_err(corrupt)?;
            if vocab.insert(token.clone(), id).is_some() {
                return Err(corrupt(format!("the token {token:?} stands twice")));
            }
        }
        Ok(vocab)
    }
}

/// Builds the tokenizer that a file's metadata describes.
pub(crate) fn load(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let vocabulary = Vocabulary {
        metadata,
        tokens: metadata
            .strings("tokenizer.ggml.tokens")?
            .unwrap_or_default(),
        types: metadata
            .integers("tokenizer.ggml.token_type")?
            .unwrap_or_default(),
    };
    let (mut inner, decoding, bos_by_default) = match vocabulary.text("model") {
        Some("gpt2") => byte_level(&vocabulary)?,
        Some("llama") => sentencepiece(&vocabulary)?,
        Some(other) => {
            let what = format!("the vocabulary is of type {other:?}");
            return Err(TokenizerError::Unsupported(what));
        }
        None => {
            let what = "the file holds no vocabulary".to_owned();
            return Err(TokenizerError::Unsupported(what));
        }
    };
    for (token, kind) in vocabulary.tokens.iter().zip(&vocabulary.types) {
        let added = |special| AddedToken::from(token.clone(), special).normalized(false);
        match *kind {
            CONTROL => inner.add_special_tokens(&[added(true)]),
            USER_DEFINED => inner.add_tokens(&[added(false)]),
            _ => 0,
        };
    }
    let wants_bos = vocabulary.flag("add_bos_token").unwrap_or(bos_by_default);
    let end_tokens: BTreeSet<u32> = ["eos", "eot", "eom"]
        .into_iter()
        .filter_map(|name| vocabulary.id(name))
        .collect();
    Tokenizer::from_parts(Parts {
        inner,
        decoding,
        end_tokens,
        bos: vocabulary.id("bos").filter(|_| wants_bos),
        chat_template: metadata
            .get("tokenizer.chat_template")
            .and_then(MetadataValue::as_str)
            .map(str::to_owned),
        bos_text: vocabulary.name("bos"),
        eos_text: vocabulary.name("eos"),
    })
}

/// A byte-level tokenizer, how its tokens decode, and whether it begins a text with a token of its
/// own unless the file says otherwise.
fn byte_level(vocabulary: &Vocabulary<'_>) -> Result<(Inner, Decoding, bool), TokenizerError> {
    let pre = vocabulary.text("pre").unwrap_or("default");
    let merges = vocabulary
        .metadata
        .strings("tokenizer.ggml.merges")?
        .ok_or_else(|| corrupt("tokenizer.ggml.merges is missing"))?;
    let pairs = merges
        .iter()
        .map(|merge| {
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| corrupt(format!("the merge {merge:?} is no pair")))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<_, TokenizerError>>()?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.ids()?, pairs)
        // Llama 3 takes a word that is a token as it is, whatever the merges say.
        .ignore_merges(is_llama_3(pre))
        .build()
        .map_err(corrupt)?;
    let mut inner = Inner::new(model);
    set_words(&mut inner, pre)?;
    inner.with_decoder(Some(ByteLevel::default()));
    Ok((inner, Decoding::ByteLevel, is_llama_3(pre)))
}

/// The same for a SentencePiece vocabulary. It has scores instead of merges: of all pairs that make
/// up a token, the one whose token scores highest is merged first.
fn sentencepiece(vocabulary: &Vocabulary<'_>) -> Result<(Inner, Decoding, bool), TokenizerError> {
    let scores = vocabulary
        .metadata
        .floats("tokenizer.ggml.scores")?
        .filter(|scores| scores.len() == vocabulary.tokens.len())
        .ok_or_else(|| corrupt("tokenizer.ggml.scores has not one score for each token"))?;
    let ids = vocabulary.ids()?;
    let mut merges = Vec::new();
    for (token, score) in vocabulary.tokens.iter().zip(&scores) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left_id), Some(right_id)) = (ids.get(left), ids.get(right)) {
                let pair = (left.to_owned(), right.to_owned());
                merges.push((*score, *left_id, *right_id, pair));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut model = BPE::builder()
        .vocab_and_merges(ids, merges.into_iter().map(|merge| merge.3).collect())
        .byte_fallback(true)
        .fuse_unk(true);
    if vocabulary.id("unknown").is_some() {
        model = model.unk_token(vocabulary.name("unknown"));
    }
    let mut inner = Inner::new(model.build().map_err(corrupt)?);
    let prefix = vocabulary.flag("add_space_prefix").unwrap_or(true);
    let mut steps = Vec::new();
    if prefix {
        steps.push(NormalizerWrapper::from(Prepend::new("▁".to_owned())));
    }
    let spaces = Replace::new(" ", "▁").map_err(corrupt)?;
    steps.push(NormalizerWrapper::from(spaces));
    inner.with_normalizer(Some(Normalizers::new(steps)));
    let decoding = Decoding::SentencePiece {
        strip_first_space: prefix,
    };
    Ok((inner, decoding, true))
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
        "default" => {
            let mut steps = DEFAULT_WORDS
                .map(split)
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            steps.push(bytes(false));
            steps
        }
        "gpt-2" | "gpt2" => vec![bytes(true)],
        "smollm" => vec![PreTokenizerWrapper::from(Digits::new(true)), bytes(true)],
        "qwen2" => {
            // As the model's own tokenizer does; llama.cpp does not.
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
