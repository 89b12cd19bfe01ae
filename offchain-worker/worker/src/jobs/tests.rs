use super::*;
use crate::daemon::tests::rig::{
    eventually, files, key, Setup, Subnet, Worker, CONSUMER, FIRST, SECOND, SUBNET,
};
use async_trait::async_trait;
use quipu_primitives::{job::FinishReason, SessionId};
use quipu_protocol::ServerState;
use quipu_testkit::{chain::JOB_TIMEOUT, FakeChain};
use quipu_worker_core::ports::{Chain, ChainEvent, JobAnswer, JobRunner};
use std::sync::atomic::{AtomicU32, Ordering};

/// Opens and settles a session as the client library would, and answers in capitals.
struct Capitals {
    chain: Arc<FakeChain>,
    runs: AtomicU32,
    hang: bool,
    /// Called between the answer and its submission.
    answered: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Capitals {
    fn new(subnet: &Subnet, hang: bool) -> Arc<Self> {
        Arc::new(Capitals {
            chain: subnet.chain.clone(),
            runs: AtomicU32::new(0),
            hang,
            answered: None,
        })
    }

    /// Answers, and then does something before the answer is submitted.
    fn and_then(subnet: &Subnet, answered: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Capitals {
            chain: subnet.chain.clone(),
            runs: AtomicU32::new(0),
            hang: false,
            answered: Some(Box::new(answered)),
        })
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    fn session(&self) -> SessionId {
        let hotkey = key(FIRST.hotkey).public();
        let open = Call::OpenSession {
            subnet: SUBNET,
            session_key: [0; 32],
            caps: vec![(FIRST.id, 1), (SECOND.id, 1)],
            duration: 100,
            seed_commitment: [0; 32],
            integrator: None,
        };
        let opened = self.chain.apply(hotkey, open).unwrap();
        let ChainEvent::SessionOpened { session, .. } = opened.events[0] else {
            panic!()
        };
        let settle = Call::Settle {
            session,
            vouchers: Vec::new(),
            receipt_root: [5; 32],
        };
        self.chain.apply(hotkey, settle).unwrap();
        session
    }
}

#[async_trait]
impl JobRunner for Capitals {
    async fn run(&self, job: &JobInfo<AccountBytes>) -> Result<JobAnswer, JobError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if self.hang {
            std::future::pending::<()>().await;
        }
        let text = std::str::from_utf8(&job.prompt).unwrap();
        if text == "unanswerable" {
            return Err(JobError::Prompt("test".into()));
        }
        let answer = JobAnswer {
            answer: text.to_uppercase().into_bytes(),
            finish: FinishReason::Stop,
            session: self.session(),
            receipt_root: [5; 32],
        };
        if let Some(answered) = &self.answered {
            answered();
        }
        Ok(answer)
    }
}

fn ask(subnet: &Subnet, prompt: &str) -> JobId {
    let request = Call::RequestJob {
        subnet: SUBNET,
        prompt: prompt.into(),
        max_tokens: 8,
        fee: 700,
    };
    match subnet.apply(CONSUMER, request).events[..] {
        [ChainEvent::JobRequested { job, node, .. }] => {
            assert_eq!(node, FIRST.id);
            job
        }
        ref other => panic!("{other:?}"),
    }
}

async fn answer(subnet: &Subnet, job: JobId) -> Option<String> {
    match subnet.chain.job(job).await.unwrap().unwrap().status {
        JobStatus::Done { answer, .. } => Some(String::from_utf8(answer.to_vec()).unwrap()),
        _ => None,
    }
}

fn submissions(chain: &FakeChain) -> usize {
    let calls = chain.calls();
    calls
        .iter()
        .filter(|(_, call)| matches!(call, Call::SubmitResult { .. }))
        .count()
}

fn setup(runner: &Arc<Capitals>) -> Setup {
    Setup {
        jobs: Some(runner.clone()),
        ..Setup::default()
    }
}

async fn worker(subnet: &Subnet, runner: Arc<Capitals>) -> Worker {
    subnet.chain.fund(key(FIRST.hotkey).public(), 1_000);
    Worker::start_with(subnet, FIRST, setup(&runner)).await
}

/// Starts the worker again in its folder.
async fn again(subnet: &Subnet, runner: &Arc<Capitals>, base: tempfile::TempDir) -> Worker {
    let mut worker = Worker::launch(subnet, FIRST, setup(runner), base).await;
    worker.until_state(ServerState::Online).await;
    worker
}

#[tokio::test]
async fn an_assigned_job_is_answered_once() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let runner = Capitals::new(&subnet, false);
    let worker = worker(&subnet, runner.clone()).await;
    let job = ask(&subnet, "what is it?");
    subnet.until(|chain| submissions(chain) == 1).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    let next = ask(&subnet, "again");
    subnet.until(|chain| submissions(chain) == 2).await;
    assert_eq!(answer(&subnet, next).await.unwrap(), "AGAIN");
    assert_eq!(runner.runs.load(Ordering::SeqCst), 2);
    worker.kill().await;
}

#[tokio::test]
async fn a_job_that_can_not_be_answered_is_left_to_its_deadline() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let worker = worker(&subnet, Capitals::new(&subnet, false)).await;
    let hopeless = ask(&subnet, "unanswerable");
    let next = ask(&subnet, "next");
    subnet.until(|chain| submissions(chain) == 1).await;
    assert_eq!(answer(&subnet, next).await.unwrap(), "NEXT");
    assert_eq!(answer(&subnet, hopeless).await, None);
    worker.kill().await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_job_does_not_lose_it() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let stuck = Capitals::new(&subnet, true);
    let first = worker(&subnet, stuck.clone()).await;
    let job = ask(&subnet, "what is it?");
    let folder = first.base.path().join("jobs");
    eventually(|| stuck.runs.load(Ordering::SeqCst) > 0).await;
    assert_eq!(files(&folder), [job.to_string()]);
    let base = first.kill().await;

    let runner = Capitals::new(&subnet, false);
    let second = again(&subnet, &runner, base).await;
    subnet.until(|chain| submissions(chain) == 1).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    second.kill().await;
}

#[tokio::test]
async fn jobs_that_were_assigned_while_the_worker_was_down_are_answered() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let runner = Capitals::new(&subnet, false);
    let base = worker(&subnet, runner.clone()).await.kill().await;
    let (one, two) = (ask(&subnet, "one"), ask(&subnet, "two"));
    let worker = again(&subnet, &runner, base).await;
    subnet.until(|chain| submissions(chain) == 2).await;
    assert_eq!(answer(&subnet, one).await.unwrap(), "ONE");
    assert_eq!(answer(&subnet, two).await.unwrap(), "TWO");
    let base = worker.kill().await;

    // What is answered is answered.
    let worker = again(&subnet, &runner, base).await;
    let three = ask(&subnet, "three");
    subnet.until(|chain| submissions(chain) == 3).await;
    assert_eq!(answer(&subnet, three).await.unwrap(), "THREE");
    assert_eq!(runner.runs(), 3);
    worker.kill().await;
}

#[tokio::test]
async fn a_crash_between_answer_and_submission_costs_no_second_run() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let chain = subnet.chain.clone();
    let cut = Capitals::and_then(&subnet, move || chain.set_reachable(false));
    let first = worker(&subnet, cut.clone()).await;
    let job = ask(&subnet, "what is it?");
    let file = first.base.path().join("jobs").join(job.to_string());
    eventually(|| std::fs::metadata(&file).is_ok_and(|file| file.len() > 0)).await;
    let base = first.kill().await;
    subnet.chain.set_reachable(true);
    assert_eq!(submissions(&subnet.chain), 0);

    let runner = Capitals::new(&subnet, false);
    let second = again(&subnet, &runner, base).await;
    subnet.until(|chain| submissions(chain) == 1).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    assert_eq!((cut.runs(), runner.runs()), (1, 0));
    eventually(|| !file.exists()).await;
    second.kill().await;
}

#[tokio::test]
async fn an_answer_whose_session_is_gone_is_computed_again() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let runner = Capitals::new(&subnet, false);
    let base = worker(&subnet, runner.clone()).await.kill().await;
    let job = ask(&subnet, "what is it?");
    let folder = JobFolder::open(&base.path().join("jobs")).unwrap();
    let stale = JobAnswer {
        answer: b"STALE".to_vec(),
        finish: FinishReason::Stop,
        session: 999,
        receipt_root: [9; 32],
    };
    folder.keep(job, stale.clone()).unwrap();
    assert_eq!(folder.answer(job), Some(stale));
    let worker = again(&subnet, &runner, base).await;
    subnet.until(|chain| submissions(chain) == 2).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    assert_eq!(runner.runs(), 1);
    worker.kill().await;
}

#[tokio::test]
async fn an_answer_that_got_in_unseen_is_not_sent_again() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let chain = subnet.chain.clone();
    let runner = Capitals::and_then(&subnet, move || chain.lose_next_answer());
    let worker = worker(&subnet, runner.clone()).await;
    let job = ask(&subnet, "what is it?");
    subnet.until(|chain| submissions(chain) == 1).await;
    // The next block shows what became of it.
    subnet.chain.advance(1);
    let folder = worker.base.path().join("jobs");
    eventually(|| files(&folder).is_empty()).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    assert_eq!((runner.runs(), submissions(&subnet.chain)), (1, 1));
    assert_eq!(worker.metrics.jobs.get(), 1);
    worker.kill().await;
}

#[tokio::test]
async fn a_refused_submission_is_tried_again_until_the_deadline() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let poor = || ChainError::Refused("the hotkey can't pay the fee".into());
    let chain = subnet.chain.clone();
    let runner = Capitals::and_then(&subnet, move || chain.fail_next(poor()));
    let worker = worker(&subnet, runner.clone()).await;
    let job = ask(&subnet, "what is it?");
    eventually(|| runner.runs() == 1 && subnet.chain.failures_left() == 0).await;
    subnet.chain.advance(1);
    subnet.until(|chain| submissions(chain) == 1).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    assert_eq!(runner.runs(), 1);
    worker.kill().await;
}

#[tokio::test]
async fn what_the_chain_decided_is_final() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let chain = subnet.chain.clone();
    let late = Capitals::and_then(&subnet, move || chain.advance(JOB_TIMEOUT + 1));
    let worker = worker(&subnet, late.clone()).await;
    let job = ask(&subnet, "what is it?");
    let folder = worker.base.path().join("jobs");
    eventually(|| late.runs() == 1 && files(&folder).is_empty()).await;
    assert_eq!(answer(&subnet, job).await, None);
    assert_eq!(
        (submissions(&subnet.chain), worker.metrics.jobs.get()),
        (1, 0)
    );
    worker.kill().await;
}

#[test]
fn a_torn_file_is_no_answer() {
    let base = tempfile::tempdir().unwrap();
    let folder = JobFolder::open(base.path()).unwrap();
    folder.begin(7).unwrap();
    assert_eq!(folder.answer(7), None);
    std::fs::write(base.path().join("7"), [1, 2, 3]).unwrap();
    std::fs::write(base.path().join("8.new"), [1]).unwrap();
    assert_eq!(folder.answer(7), None);
    assert_eq!(folder.list().unwrap(), [7]);
    folder.end(7);
    assert!(folder.list().unwrap().is_empty());
}
