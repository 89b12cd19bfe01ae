//! Conversations as models were trained to see them.
//!
//! Models ship their templates in Jinja. Quipu doesn't run programs that come with weights: it
//! recognises the formats of the families it serves, and takes from the template only its default
//! system message.

use std::fmt;
use std::str::FromStr;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Its name in templates and in chat APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no [`Role`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; it must be system, user or assistant")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        [Self::System, Self::User, Self::Assistant]
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            content: content.into(),
        }
    }

    /// Instructions.
    pub fn system(content: impl Into<String>) -> Self {
        Self {
            role: Role::System,
            content: content.into(),
        }
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self {
            role: Role::Assistant,
            content: content.into(),
        }
    }
}

/// The date that Llama 3.1's template names when the caller gives none.
const LLAMA_3_DATES: &str = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

/// A known format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChatTemplate {
    /// `<|im_start|>role\n…<|im_end|>\n`: SmolLM2, Qwen2.
    ChatMl {
        /// Used where a conversation begins without a system message.
        default_system: Option<String>,
    },
    /// `<|start_header_id|>role<|end_header_id|>\n\n…<|eot_id|>`.
    Llama3 {
        bos: String,
        /// Llama 3.1 and later always have a system message, which begins with dates.
        dated: bool,
    },
    /// `<|user|>\n…</s>\n`: TinyLlama.
    Zephyr { eos: String },
    /// `User: …` on lines of their own, for models without a format.
    Plain,
}

impl ChatTemplate {
    /// The format that a template is in, or that the vocabulary suggests where there is none.
    pub fn detect(
        template: Option<&str>,
        has_token: impl Fn(&str) -> bool,
        bos: &str,
        eos: &str,
    ) -> Self {
        let mentions = |text: &str| match template {
            Some(template) => template.contains(text),
            None => has_token(text),
        };
        if mentions("<|im_start|>") {
            Self::ChatMl {
                default_system: template.and_then(default_system),
            }
        } else if mentions("<|start_header_id|>") {
            let dated = template.is_some_and(|text| text.contains("Cutting Knowledge Date"));
            Self::Llama3 {
                bos: bos.to_owned(),
                dated,
            }
        } else if template.is_some_and(|text| text.contains("<|user|>")) {
            Self::Zephyr {
                eos: eos.to_owned(),
            }
        } else {
            Self::Plain
        }
    }

    /// The conversation up to where the model's next message begins.
    pub fn render(&self, messages: &[ChatMessage]) -> String {
        match self {
            Self::ChatMl { default_system } => chat_ml(messages, default_system.as_deref()),
            Self::Llama3 { bos, dated } => llama_3(messages, bos, *dated),
            Self::Zephyr { eos } => {
                let mut text = String::new();
                for ChatMessage { role, content } in messages {
                    text.push_str(&format!("<|{role}|>\n{content}{eos}\n"));
                }
                text + "<|assistant|>\n"
            }
            Self::Plain => plain(messages),
        }
    }
}

fn starts_with_system(messages: &[ChatMessage]) -> bool {
    messages
        .first()
        .is_some_and(|message| message.role == Role::System)
}

fn chat_ml(messages: &[ChatMessage], default_system: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(system) = default_system.filter(|_| !starts_with_system(messages)) {
        text.push_str(&format!("<|im_start|>system\n{system}<|im_end|>\n"));
    }
    for ChatMessage { role, content } in messages {
        text.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
    }
    text + "<|im_start|>assistant\n"
}

fn llama_3(messages: &[ChatMessage], bos: &str, dated: bool) -> String {
    let header = |role: Role| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
    let mut text = bos.to_owned();
    let mut rest = messages;
    if dated {
        let mut system = "";
        if let (true, Some((first, others))) =
            (starts_with_system(messages), messages.split_first())
        {
            system = first.content.trim();
            rest = others;
        }
        text.push_str(&format!(
            "{}{LLAMA_3_DATES}{system}<|eot_id|>",
            header(Role::System)
        ));
    }
    for ChatMessage { role, content } in rest {
        text.push_str(&format!("{}{}<|eot_id|>", header(*role), content.trim()));
    }
    text + &header(Role::Assistant)
}

fn plain(messages: &[ChatMessage]) -> String {
    let mut text = String::new();
    for ChatMessage { role, content } in messages {
        match role {
            Role::System => text.push_str(&format!("{content}\n\n")),
            Role::User => text.push_str(&format!("User: {content}\n")),
            Role::Assistant => text.push_str(&format!("Assistant: {content}\n")),
        }
    }
    text + "Assistant:"
}

/// The system message that a ChatML template writes out by itself: literal text between the marks
/// of a system message, free of Jinja.
fn default_system(template: &str) -> Option<String> {
    const END: &str = "<|im_end|>";
    // Jinja strings write the line break as an escape; a template may also hold a real one.
    ["<|im_start|>system\\n", "<|im_start|>system\n"]
        .iter()
        .find_map(|start| {
            template.match_indices(start).find_map(|(at, _)| {
                let text = &template[at + start.len()..];
                let text = &text[..text.find(END)?];
                let literal = !text.is_empty() && !text.contains(['{', '}', '\'', '"', '+']);
                literal.then(|| text.replace("\\n", "\n"))
            })
        })
}
