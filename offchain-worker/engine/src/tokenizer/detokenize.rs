//! A stream of tokens to text, piece by piece.

use super::Tokenizer;

/// Turns tokens into text as they come. A character whose bytes are spread over several tokens comes
/// out with the last of them; all pieces joined are what [`Tokenizer::decode`] gives.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    /// Bytes of an unfinished character: at most three.
    pending: Vec<u8>,
    started: bool,
}

impl Detokenizer {
    pub(crate) fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
            started: false,
        }
    }

    /// The text that `id` completes; often empty.
    pub fn push(&mut self, id: u32) -> String {
        let mut bytes = self.tokenizer.token_bytes(id);
        if !self.started && !bytes.is_empty() {
            self.started = true;
            if self.tokenizer.strips_first_space() && bytes.first() == Some(&b' ') {
                bytes.remove(0);
            }
        }
        self.pending.extend(bytes);
        self.take_complete()
    }

    /// What is left when no more tokens come: U+FFFD for an unfinished character.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }

    /// Takes all but an unfinished character off the pending bytes.
    fn take_complete(&mut self) -> String {
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        // The end of the input cuts a character.
                        None => break,
                        Some(len) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[len..];
                        }
                    }
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }
}
