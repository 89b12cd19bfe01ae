//! What the client computes itself: text to tokens and back, the embedding and the head.

use quipu_engine::exact::{ExactEnds, ExactOptions};
use quipu_engine::{Detokenizer, EngineError, HiddenStates, Model, Tokenizer};
use quipu_primitives::{Digest, ModelConfig};
use quipu_worker_core::{Classified, Fault};

pub use quipu_engine::{ChatMessage as Message, Role};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// One message of a user, in the model's chat template.
    Text(String),
    /// A conversation, in the model's chat template.
    Chat(Vec<Message>),
    /// Text that the model continues, without a template.
    Raw(String),
    /// Tokens.
    Tokens(Vec<u32>),
}

/// Digests of the local artefacts, to be compared with the subnet's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of the token embedding.
    pub embedding: Digest,
    /// Of the final norm and the head.
    pub head: Digest,
    /// Of the tokenizer.
    pub tokenizer: Digest,
}

/// Why the local part of the model failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndsError {
    /// The artefact can't be read.
    #[error("the local model can't be used: {0}")]
    Load(String),
    /// The prompt can't be tokenised, or names unknown tokens.
    #[error("the prompt can't be used: {0}")]
    Prompt(String),
    /// The backend failed, or what it was given is no hidden state.
    #[error("the local computation failed: {0}")]
    Compute(String),
}

impl Classified for EndsError {
    fn is_fatal(&self) -> bool {
        !matches!(self, EndsError::Prompt(_))
    }

    fn fault(&self) -> Fault {
        match self {
            EndsError::Load(_) | EndsError::Prompt(_) => Fault::Caller,
            EndsError::Compute(_) => Fault::Ours,
        }
    }
}

/// Tokens to text, as they come.
pub trait TextStream: Send {
    /// The text that this token completes; often empty.
    fn push(&mut self, token: u32) -> String;
    /// What is left at the end.
    fn finish(self: Box<Self>) -> String;
}

/// Both ends of a model. Calls may block for milliseconds; the client runs the heavy ones on
/// threads for blocking work.
pub trait Ends: Send + Sync + 'static {
    /// Shape of the model, as manifests say it.
    fn config(&self) -> &ModelConfig;
    /// Digests of its artefacts.
    fn digests(&self) -> Digests;
    /// The tokens of a prompt, up to where the answer begins.
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, EndsError>;
    /// Does this token end an answer?
    fn is_end(&self, token: u32) -> bool;
    /// Starts decoding an answer.
    fn text_stream(&self) -> Box<dyn TextStream>;
    /// Embeddings `[tokens, hidden]`: what goes into block 0.
    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, EndsError>;
    /// Logits `[vocab]` after a row of `hidden` numbers that came out of the last block.
    fn logits(&self, row: &[f32]) -> Result<Vec<f32>, EndsError>;
}

/// The ends of a model that the engine has read. Whatever the servers compute with, the head's logits are
/// those of the reproducible kernels, on one thread: the same hidden states give the same tokens everywhere.
#[derive(Debug)]
pub struct EngineEnds {
    config: ModelConfig,
    digests: Digests,
    tokenizer: Tokenizer,
    ends: ExactEnds,
}

fn load(error: impl std::fmt::Display) -> EndsError {
    EndsError::Load(error.to_string())
}

fn compute(error: EngineError) -> EndsError {
    match error {
        EngineError::UnknownToken { .. } | EngineError::NoTokens => {
            EndsError::Prompt(error.to_string())
        }
        other => EndsError::Compute(other.to_string()),
    }
}

impl EngineEnds {
    /// Loads tokenizer, final norm and head, and takes their digests and the embedding's. Reads
    /// tens of megabytes; blocks.
    pub fn load(model: &Model) -> Result<Self, EndsError> {
        let of_weights = model.ends_digests().map_err(load)?;
        Ok(EngineEnds {
            config: ModelConfig::try_from(model.config()).map_err(load)?,
            digests: Digests {
                embedding: of_weights.embedding,
                head: of_weights.head,
                tokenizer: model.tokenizer_digest().map_err(load)?,
            },
            tokenizer: model.tokenizer().map_err(load)?,
            ends: ExactEnds::load(model, ExactOptions::default()).map_err(load)?,
        })
    }
}

impl TextStream for Detokenizer {
    fn push(&mut self, token: u32) -> String {
        Detokenizer::push(self, token)
    }

    fn finish(self: Box<Self>) -> String {
        Detokenizer::finish(*self)
    }
}

impl Ends for EngineEnds {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn digests(&self) -> Digests {
        self.digests
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, EndsError> {
        let tokens = match prompt {
            Prompt::Text(text) => self.tokenizer.encode_chat(&[Message::user(text.clone())]),
            Prompt::Chat(messages) => self.tokenizer.encode_chat(messages),
            Prompt::Raw(text) => self.tokenizer.encode(text, true),
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
        };
        tokens.map_err(|error| EndsError::Prompt(error.to_string()))
    }

    fn is_end(&self, token: u32) -> bool {
        self.tokenizer.is_end(token)
    }

    fn text_stream(&self) -> Box<dyn TextStream> {
        Box::new(self.tokenizer.detokenizer())
    }

    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, EndsError> {
        Ok(self.ends.embed(tokens).map_err(compute)?.data)
    }

    fn logits(&self, row: &[f32]) -> Result<Vec<f32>, EndsError> {
        let hidden = HiddenStates {
            data: row.to_vec(),
            tokens: 1,
        };
        self.ends.logits(&hidden).map_err(compute)
    }
}
