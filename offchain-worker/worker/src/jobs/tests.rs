use super::*;
use crate::daemon::tests::rig::{
    eventually, files, key, Setup, Subnet, Worker, CONSUMER, FIRST, SECOND, SUBNET,
};
use async_trait::async_trait;
use quipu_primitives::{job::FinishReason, SessionId};
use quipu_protocol::ServerState;
use quipu_testkit::FakeChain;
use quipu_worker_core::ports::{Chain, ChainEvent, JobAnswer, JobRunner};
use std::sync::atomic::{AtomicU32, Ordering};

/// Opens and settles a session as the client library would, and answers in capitals.
struct Capitals {
    chain: Arc<FakeChain>,
    runs: AtomicU32,
    hang: bool,
}

impl Capitals {
    fn new(subnet: &Subnet, hang: bool) -> Arc<Self> {
        Arc::new(Capitals {
            chain: subnet.chain.clone(),
            runs: AtomicU32::new(0),
            hang,
        })
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
        Ok(JobAnswer {
            answer: text.to_uppercase().into_bytes(),
            finish: FinishReason::Stop,
            session: self.session(),
            receipt_root: [5; 32],
        })
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

async fn worker(subnet: &Subnet, runner: Arc<Capitals>) -> Worker {
    subnet.chain.fund(key(FIRST.hotkey).public(), 1_000);
    let setup = Setup {
        jobs: Some(runner),
        ..Setup::default()
    };
    Worker::start_with(subnet, FIRST, setup).await
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
    let setup = Setup {
        jobs: Some(runner),
        ..Setup::default()
    };
    let mut second = Worker::launch(&subnet, FIRST, setup, base).await;
    second.until_state(ServerState::Online).await;
    subnet.until(|chain| submissions(chain) == 1).await;
    assert_eq!(answer(&subnet, job).await.unwrap(), "WHAT IS IT?");
    second.kill().await;
}
