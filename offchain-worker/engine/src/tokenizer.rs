//! Text to tokens and back.
//!
//! The merges are the `tokenizers` crate's. Decoding is done here, from the bytes of each token, so
//! that a stream of tokens and the whole of them give the same text.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokenizers::Tokenizer as Inner;

use crate::weights::WeightsError;

pub(crate) mod bytes;
pub mod chat;
pub mod detokenize;
pub(crate) mod gguf;
pub(crate) mod hf;

use bytes::Decoding;
use chat::{ChatMessage, ChatTemplate};
use detokenize::Detokenizer;

/// Why a tokenizer can't be made or used.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// There is none.
    #[error("{} has no tokenizer.json; put the model's beside its weights", .0.display())]
    Missing(PathBuf),
    /// There is one that the engine doesn't run.
    #[error("the tokenizer can't be used: {0}; put the model's tokenizer.json beside its weights")]
    Unsupported(String),
    /// Its description is broken.
    #[error("the tokenizer is corrupt: {0}; fetch it again")]
    Corrupt(String),
    /// A text could not be encoded.
    #[error("the text can't be encoded: {0}")]
    Encode(String),
    /// Its file could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Names of tokens that end an answer, where the model marks them as special.
const END_TOKENS: [&str; 6] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "</s>",
];

/// A model's tokenizer. Clones share one.
#[derive(Clone)]
pub struct Tokenizer {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    inner: Inner,
    decoding: Decoding,
    /// Tokens that decode to nothing.
    special: HashSet<u32>,
    end_tokens: BTreeSet<u32>,
    /// Put before a text by [`Tokenizer::encode`], if it isn't done by `inner`.
    bos: Option<u32>,
    template: ChatTemplate,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("template", &self.shared.template)
            .finish_non_exhaustive()
    }
}

/// What the loaders find out about a tokenizer.
pub(crate) struct Parts {
    pub inner: Inner,
    pub decoding: Decoding,
    /// Ids that the model's files name as ending an answer.
    pub end_tokens: BTreeSet<u32>,
    pub bos: Option<u32>,
    /// The model's chat template, in its own language.
    pub chat_template: Option<String>,
    /// The tokens that templates call `bos_token` and `eos_token`.
    pub bos_text: String,
    pub eos_text: String,
}

impl Tokenizer {
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, TokenizerError> {
        let Parts {
            mut inner,
            decoding,
            mut end_tokens,
            bos,
            chat_template,
            ..
        } = parts;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Corrupt(error.to_string()))?;
        let special: HashSet<u32> = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter_map(|(id, token)| token.special.then_some(id))
            .collect();
        let known = END_TOKENS.iter().filter_map(|name| inner.token_to_id(name));
        end_tokens.extend(known.filter(|id| special.contains(id)));
        let has = |name: &str| inner.token_to_id(name).is_some();
        let template = ChatTemplate::detect(
            chat_template.as_deref(),
            has,
            &parts.bos_text,
            &parts.eos_text,
        );
        let shared = Shared {
            inner,
            decoding,
            special,
            end_tokens,
            bos,
            template,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The tokens of `text`; those the model puts around a text too if `with_special`. Names of
    /// special tokens within the text become these tokens.
    pub fn encode(&self, text: &str, with_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .shared
            .inner
            .encode_fast(text, with_special)
            .map_err(|error| TokenizerError::Encode(error.to_string()))?;
        let bos = self.shared.bos.filter(|_| with_special);
        Ok(bos
            .into_iter()
            .chain(encoding.get_ids().iter().copied())
            .collect())
    }

    /// The tokens of a conversation, up to where the model's answer begins.
    pub fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, TokenizerError> {
        self.encode(&self.render_chat(messages), false)
    }

    /// A conversation as the model was trained to see it, up to where its answer begins.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> String {
        self.shared.template.render(messages)
    }

    /// The text of `tokens`. Special tokens give nothing; bytes that are no UTF-8 give U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut stream = self.detokenizer();
        let mut text: String = tokens.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// Starts decoding a stream of tokens.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(self.clone())
    }

    /// Does this token end an answer?
    pub fn is_end(&self, id: u32) -> bool {
        self.shared.end_tokens.contains(&id)
    }

    /// The tokens that end an answer, in ascending order.
    pub fn end_tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.shared.end_tokens.iter().copied()
    }

    /// Number of tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.shared.inner.get_vocab_size(true)
    }

    /// The token called `name`, if there is one.
    pub fn token_id(&self, name: &str) -> Option<u32> {
        self.shared.inner.token_to_id(name)
    }

    /// The bytes that a token stands for: none for special and for unknown tokens.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        if self.shared.special.contains(&id) {
            return Vec::new();
        }
        match self.shared.inner.id_to_token(id) {
            Some(token) => self.shared.decoding.bytes(&token),
            None => Vec::new(),
        }
    }

    /// Does a text lose the space that its first token begins with?
    pub(crate) fn strips_first_space(&self) -> bool {
        self.shared.decoding
            == Decoding::SentencePiece {
                strip_first_space: true,
            }
    }
}

#[cfg(test)]
mod tests;
