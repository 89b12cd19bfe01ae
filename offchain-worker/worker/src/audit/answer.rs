//! Judging the answer to a job.
//!
//! Whoever answered a job led its tokens through the servers of a session. What went into the first blocks and
//! came out of the last ones, as those servers signed it, says all of it: the rows in are the embeddings of the
//! prompt's tokens and of the answer's; each row out says the next token, by the head and the highest logit. Both
//! ends are computed on the reproducible kernels whatever the servers compute with, so that all of this is a
//! comparison of bits and of tokens:
//!
//! | what does not hold | what it was |
//! |---|---|
//! | servers of all blocks are paid for the same positions | an answer out of thin air |
//! | the rows in begin with the prompt's embeddings | another prompt |
//! | the next row in is the embedding of the token that the row out says | other sampling, guesses that nobody checked |
//! | the rows go on until the model ends the answer, or `max_tokens` | an answer that was cut off |
//! | the text is that of the tokens, the reason that for which they end | another answer, such as an old one |

use quipu_client::{jobs::deliver, Ends, EndsError, Finish, Prompt};
use quipu_engine::Sampling;
use quipu_primitives::{
    job::FinishReason,
    views::{JobInfo, JobStatus},
    AccountBytes,
};
use quipu_protocol::{Activations, ActivationsError};

/// A job with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What was asked.
    pub prompt: Vec<u8>,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// What was answered.
    pub answer: Vec<u8>,
    /// How that ended.
    pub finish: FinishReason,
}

impl Question {
    /// That of a job, if it is answered.
    pub fn of(job: &JobInfo<AccountBytes>) -> Option<Self> {
        let JobStatus::Done { answer, finish, .. } = &job.status else {
            return None;
        };
        Some(Question {
            prompt: job.prompt.to_vec(),
            max_tokens: job.max_tokens,
            answer: answer.to_vec(),
            finish: *finish,
        })
    }
}

/// Why an answer is not what the servers' work comes to. The fault of whoever gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// No servers are paid for all of it.
    #[error("no servers were led through the whole model for it")]
    Unserved,
    /// What went in is not the prompt, from this position on.
    #[error("what went in is not the prompt at position {0}")]
    Prompt(u32),
    /// A token that went in is not the one that the model chose.
    #[error("what went in at position {0} is not the token that the model chose")]
    Token(u32),
    /// The answer was cut off.
    #[error("the answer ends at position {0}, where the model goes on")]
    CutOff(u32),
    /// It went on behind its end.
    #[error("the answer is over at position {0}, and went on")]
    WentOn(u32),
    /// The text is another.
    #[error("the answer is not what the tokens say")]
    Text,
    /// The reason is another.
    #[error("the answer did not end for the reason that is given")]
    Reason,
}

/// What of an answer can't be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The prompt, or a row.
    #[error(transparent)]
    Ends(#[from] EndsError),
    /// Rows that are none.
    #[error(transparent)]
    Rows(#[from] ActivationsError),
    /// The rows of the two ends are not of the same positions.
    #[error("{input} rows went in where {output} came out")]
    Count {
        /// Rows in.
        input: u32,
        /// Rows out.
        output: u32,
    },
}

/// Does the answer follow from what went into the first blocks and came out of the last ones? Gives its tokens.
pub fn check(
    ends: &dyn Ends,
    question: &Question,
    input: &Activations,
    output: &Activations,
) -> Result<Result<Vec<u32>, Wrong>, Unclear> {
    let positions = input.header.tokens;
    if output.header.tokens != positions {
        let (input, output) = (positions, output.header.tokens);
        return Err(Unclear::Count { input, output });
    }
    let prompt = String::from_utf8_lossy(&question.prompt).into_owned();
    let prompt = ends.encode(&Prompt::Text(prompt))?;
    let hidden = ends.config().hidden_size;
    let row = |at: u32| input.rows(at, at + 1);
    // Embedding a token is rounded as everything that crosses a boundary.
    let is_token = |at: u32, token: u32| -> Result<bool, Unclear> {
        let embedded = ends.embed(&[token])?;
        let expected = Activations::rounded(&embedded, hidden, input.header.dtype)?;
        Ok(row(at).is_some_and(|row| row.bytes == expected.bytes))
    };
    for (at, token) in (0..).zip(&prompt) {
        if !is_token(at, *token)? {
            return Ok(Err(Wrong::Prompt(at)));
        }
    }

    let (mut tokens, mut text) = (Vec::new(), ends.text_stream());
    let (mut written, mut finish) = (String::new(), None);
    for at in (prompt.len() as u32).saturating_sub(1)..positions {
        let out = output.rows(at, at + 1).map(|row| row.to_f32());
        let logits = ends.logits(&out.unwrap_or(Ok(Vec::new()))?)?;
        let chosen = Sampling::greedy().sample(&logits, u64::from(at) + 1);
        let chosen = chosen.map_err(|error| EndsError::Compute(error.to_string()))?;
        tokens.push(chosen);
        if ends.is_end(chosen) {
            finish = Some(Finish::Stop);
        } else {
            written.push_str(&text.push(chosen));
            if tokens.len() as u32 >= question.max_tokens {
                finish = Some(Finish::Length);
            }
        }
        let next = at + 1;
        match finish {
            Some(_) if next < positions => return Ok(Err(Wrong::WentOn(next))),
            Some(_) => break,
            None if next == positions => return Ok(Err(Wrong::CutOff(next))),
            None if !is_token(next, chosen)? => return Ok(Err(Wrong::Token(next))),
            None => {}
        }
    }
    let Some(finish) = finish else {
        return Ok(Err(Wrong::CutOff(positions)));
    };
    written.push_str(&text.finish());
    let (answer, finish) = deliver(written, finish);
    if answer != question.answer {
        return Ok(Err(Wrong::Text));
    }
    if finish != question.finish {
        return Ok(Err(Wrong::Reason));
    }
    Ok(Ok(tokens))
}

#[cfg(test)]
mod tests;
