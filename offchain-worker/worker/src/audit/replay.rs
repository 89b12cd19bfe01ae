//! Running rows through blocks again.

use super::{check_answer, examine, Case, Ended, Examiner, Question, Reason, Shown, Wrong};
use crate::{model, start::load_blocks};
use async_trait::async_trait;
use quipu_client::{ends::Digests, Ends, EngineEnds};
use quipu_engine::Model;
use quipu_primitives::{
    audit::{Finding, Verdict},
    hash::hash_of,
    DType, Digest, Manifest,
};
use quipu_protocol::{activations::width, limits::MAX_STEP_TOKENS, Activations, ActivationsHeader};
use quipu_worker_core::ports::{CacheId, Compute, ComputeError};
use std::sync::Arc;
use tracing::{error, warn};

/// Replays on blocks that it loads for each replay, and lets go of afterwards: audits are rare, and what they
/// are about is any of the model's blocks.
#[derive(Clone)]
pub struct ModelExaminer {
    model: Arc<Model>,
    manifest: Arc<Manifest>,
    threads: usize,
}

impl ModelExaminer {
    /// Replays on a model that must be the manifest's, on so many threads.
    pub fn new(model: Arc<Model>, manifest: Manifest, threads: usize) -> Self {
        ModelExaminer {
            model,
            manifest: Arc::new(manifest),
            threads,
        }
    }

    /// Runs rows through the blocks of a case. Blocks.
    fn replay(&self, case: &Case, rows: &[u8]) -> Result<Vec<u8>, ComputeError> {
        let (span, dtype) = (case.service.span, case.dtype());
        let backend = |error: &dyn std::fmt::Display| ComputeError::Backend(error.to_string());
        // With weights that aren't the subnet's an honest server would be accused.
        model::check(&self.model, &self.manifest, span).map_err(|error| backend(&error))?;
        let positions = rows.len().checked_div(case.row()).unwrap_or(0) as u32;
        let kernel = case.profile.kernel;
        let loaded = load_blocks(&self.model, kernel, span, self.threads, positions.max(1));
        let (mut compute, _) = loaded.map_err(|error| backend(&error))?;
        replay(compute.as_mut(), rows, dtype)
    }

    /// Judges an answer, and gives the digest of its tokens where they are right. Blocks.
    fn answer(
        &self,
        question: &Question,
        ended: &Ended,
    ) -> Result<(Digest, Option<Wrong>), ComputeError> {
        let backend = |error: &dyn std::fmt::Display| ComputeError::Backend(error.to_string());
        let ends = EngineEnds::load(&self.model).map_err(|error| backend(&error))?;
        let Digests {
            embedding,
            head,
            tokenizer,
        } = ends.digests();
        let manifest = &self.manifest;
        // With other ends than the subnet's an honest answer would be wrong.
        let promised = (
            manifest.embedding_digest,
            manifest.head_digest,
            manifest.tokenizer_digest,
        );
        if (embedding, head, tokenizer) != promised || *ends.config() != manifest.config {
            return Err(backend(&"the model's ends are not those of the subnet"));
        }
        let checked = check_answer(&ends, question, &ended.input, &ended.output);
        Ok(match checked.map_err(|error| backend(&error))? {
            Ok(tokens) => {
                let content = (ended.subject, tokens);
                (hash_of(b"quipu/answer-projection/1", &content), None)
            }
            Err(wrong) => (Digest::default(), Some(wrong)),
        })
    }
}

#[async_trait]
impl Examiner for ModelExaminer {
    async fn examine(&self, case: Case, shown: Shown) -> (Finding, Reason) {
        let own = self.clone();
        let work = move || {
            examine(&case, &shown, |rows| {
                let replayed = own.replay(&case, rows);
                if let Err(error) = &replayed {
                    warn!(%error, "a server's work can't be replayed");
                }
                replayed
            })
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| {
                error!(%error, "replaying a server's work failed");
                let finding = Finding {
                    verdict: Verdict::Inconclusive,
                    head: Digest::default(),
                    projection: Digest::default(),
                };
                (finding, Reason::Unplayable)
            })
    }

    async fn examine_answer(&self, question: Question, ended: Ended) -> (Verdict, Digest, Reason) {
        let own = self.clone();
        let work = move || own.answer(&question, &ended);
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| ComputeError::Backend(error.to_string()));
        match done.and_then(|done| done) {
            Ok((tokens, None)) => (Verdict::Pass, tokens, Reason::Follows),
            Ok((tokens, Some(wrong))) => (Verdict::Fail, tokens, wrong.into()),
            Err(error) => {
                error!(%error, "an answer can't be judged");
                let nothing = Digest::default();
                (Verdict::Inconclusive, nothing, Reason::Unplayable)
            }
        }
    }
}

/// The sequence of a replay: a span that replays does nothing else.
const REPLAY: CacheId = 0;

/// Runs rows of the positions from 0 on through the blocks, in steps as large as they may be, and gives what
/// comes out in the same type. On a span of its own, since it takes a cache as long as the rows. Blocks.
pub fn replay(
    compute: &mut dyn Compute,
    rows: &[u8],
    dtype: DType,
) -> Result<Vec<u8>, ComputeError> {
    let hidden = compute.hidden_size();
    let row = hidden as usize * width(dtype).unwrap_or(0);
    if row == 0 || !rows.len().is_multiple_of(row) {
        return Err(ComputeError::Input("no whole number of rows".into()));
    }
    let positions = u32::try_from(rows.len() / row)
        .map_err(|_| ComputeError::Input("more rows than positions".into()))?;
    compute.open(REPLAY, positions)?;
    let mut replayed = Vec::with_capacity(rows.len());
    let mut position = 0;
    let done = rows
        .chunks(row * MAX_STEP_TOKENS as usize)
        .try_for_each(|step| {
            let header = ActivationsHeader {
                dtype,
                tokens: (step.len() / row) as u32,
                hidden,
            };
            let input = Activations {
                header,
                bytes: bytes::Bytes::copy_from_slice(step),
            };
            let output = compute.forward(REPLAY, position, &input)?;
            position += header.tokens;
            replayed.extend_from_slice(&output.bytes);
            Ok(())
        });
    compute.close(REPLAY);
    done.map(|()| replayed)
}
