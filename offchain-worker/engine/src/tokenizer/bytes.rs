//! Bytes of a token's name.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How a vocabulary writes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// GPT-2's: each byte is one printable character.
    ByteLevel,
    /// SentencePiece's: `▁` is a space, `<0x0A>` a byte, all else itself.
    SentencePiece {
        /// Is the space that a text's first token begins with dropped?
        strip_first_space: bool,
    },
}

impl Decoding {
    /// The bytes that a token of this name stands for.
    pub fn bytes(self, token: &str) -> Vec<u8> {
        match self {
            // A name with other characters is an added token, which stands for itself.
            Self::ByteLevel => token
                .chars()
                .map(|c| BYTES.get(&c).copied())
                .collect::<Option<Vec<u8>>>()
                .unwrap_or_else(|| token.as_bytes().to_vec()),
            Self::SentencePiece { .. } => match byte_token(token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
        }
    }
}

/// The byte of a token such as `<0x0A>`.
pub(crate) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// The character that stands for a byte: itself where it is printable Latin-1, otherwise the next
/// free one from U+0100 on.
pub(crate) fn byte_characters() -> impl Iterator<Item = (u8, char)> {
    let mut next = 0x100u32;
    (0..=255u8).map(move |byte| {
        let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        if printable {
            return (byte, char::from(byte));
        }
        let character = char::from_u32(next).unwrap_or(char::REPLACEMENT_CHARACTER);
        next += 1;
        (byte, character)
    })
}

static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    byte_characters()
        .map(|(byte, character)| (character, byte))
        .collect()
});
