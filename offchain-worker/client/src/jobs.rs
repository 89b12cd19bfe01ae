//! One-shot jobs: a server acts as client of the swarm for a dApp.

use crate::{
    ends::Prompt,
    error::ClientError,
    generate::{Client, Finish, Request},
    options::SamplingOptions,
};
use async_trait::async_trait;
use quipu_primitives::{
    job::{FinishReason, MAX_ANSWER},
    views::JobInfo,
    AccountBytes,
};
use quipu_worker_core::ports::{JobAnswer, JobError, JobRunner};

#[async_trait]
impl JobRunner for Client {
    /// The likeliest tokens, so that anybody can repeat the answer. Text beyond what the chain
    /// takes is cut off at a character.
    async fn run(&self, job: &JobInfo<AccountBytes>) -> Result<JobAnswer, JobError> {
        let prompt = std::str::from_utf8(&job.prompt)
            .map_err(|_| JobError::Prompt("it is not UTF-8".into()))?;
        let sampling = SamplingOptions {
            max_tokens: job.max_tokens,
            ..Default::default()
        };
        let request = Request::new(job.subnet, Prompt::Text(prompt.into()), sampling);
        let generation = self.generate(request, |_| {}).await.map_err(job_error)?;
        let (answer, finish) = deliver(generation.text, generation.finish);
        Ok(JobAnswer {
            answer,
            finish,
            session: generation.session,
            receipt_root: generation.receipt_root,
        })
    }
}

/// An answer as the chain takes it: what is too long is cut off, and ended for that reason.
pub fn deliver(mut text: String, finish: Finish) -> (Vec<u8>, FinishReason) {
    let cut = cut(&mut text, MAX_ANSWER as usize);
    let finish = match finish {
        Finish::Stop if !cut => FinishReason::Stop,
        _ => FinishReason::Length,
    };
    (text.into_bytes(), finish)
}

/// Cuts a text to at most `most` bytes, at a character. Was there anything to cut?
fn cut(text: &mut String, most: usize) -> bool {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = end < text.len();
    text.truncate(end);
    cut
}

fn job_error(error: ClientError) -> JobError {
    match error {
        ClientError::Chain(error) => JobError::Chain(error),
        ClientError::Unsettled { source, .. } => JobError::Chain(source),
        ClientError::EmptyPrompt | ClientError::TooLong { .. } | ClientError::Options(_) => {
            JobError::Prompt(error.to_string())
        }
        other => JobError::Swarm(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_at_characters() {
        let mut text = String::from("aé€");
        assert!(!cut(&mut text, 6));
        assert!(cut(&mut text, 5));
        assert_eq!(text, "aé");
        assert!(cut(&mut text, 2));
        assert_eq!(text, "a");
    }
}
