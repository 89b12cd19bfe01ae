//! Who answers jobs with something else than what the model says.

use async_trait::async_trait;
use quipu_primitives::{views::JobInfo, AccountBytes};
use quipu_worker_core::ports::{JobAnswer, JobError, JobRunner, SharedJobRunner};

/// What is done to a job or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misanswer {
    /// Answers half of the prompt.
    AlteredPrompt,
    /// Ends the answer after two tokens.
    Truncated,
    /// Gives an answer that it gave to somebody before.
    OldAnswer,
}

/// Runs jobs in such a way.
pub struct Misanswering {
    /// What runs them.
    pub inner: SharedJobRunner,
    /// What is wrong.
    pub how: Misanswer,
}

#[async_trait]
impl JobRunner for Misanswering {
    async fn run(&self, job: &JobInfo<AccountBytes>) -> Result<JobAnswer, JobError> {
        let mut job = job.clone();
        match self.how {
            Misanswer::AlteredPrompt => {
                let text = String::from_utf8_lossy(&job.prompt).into_owned();
                let half = text.chars().count().div_ceil(2);
                let text: String = text.chars().take(half).collect();
                job.prompt = text.into_bytes().try_into().unwrap_or(job.prompt);
            }
            // What is run is as short as may be: the tokens are not what is sold.
            Misanswer::Truncated => job.max_tokens = job.max_tokens.min(2),
            Misanswer::OldAnswer => job.max_tokens = 1,
        }
        let mut answer = self.inner.run(&job).await?;
        if self.how == Misanswer::OldAnswer {
            answer.answer = b"As I said before.".to_vec();
        }
        Ok(answer)
    }
}
