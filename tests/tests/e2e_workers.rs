//! Workers that go away, come back and move, on a real chain with the real model.

use anyhow::{bail, ensure, Context, Result};
use futures::{future::try_join_all, stream::BoxStream, StreamExt};
use quipu_chain::Keypair;
use quipu_client::{ClientError, Generation, Prompt, Request, SamplingOptions};
use quipu_engine::Model;
use quipu_primitives::{
    cost,
    money::QPU,
    views::{JobStatus, SeatInfo},
    JobId, NodeId, Span, SubnetId,
};
use quipu_tests::{
    demo::{closing_block, Consumer},
    localnet::{model_folder, Localnet, Programs, Server, PRICE},
};
use quipu_worker_core::ports::{Call, Chain, ChainEvent};
use std::{path::Path, time::Duration};

const PROMPT: &str = "What is the capital of France?";
const ANSWER: &str = "The capital of France is Paris.";
/// How long a worker may take to end, and what is asked of the chain to happen.
const LIMIT: Duration = Duration::from_secs(120);

type Events = BoxStream<'static, ChainEvent>;

/// The seat of a node in the last final block.
async fn seat(net: &Localnet, subnet: SubnetId, node: NodeId) -> Result<Option<SeatInfo>> {
    let roster = net.chain.roster(subnet).await?;
    let own = roster.into_iter().find(|info| info.id == node);
    Ok(own.context("the node is gone")?.seat)
}

/// Waits for an event, and gives all that came before it.
async fn until(
    events: &mut Events,
    what: &str,
    is_it: impl Fn(&ChainEvent) -> bool,
) -> Result<Vec<ChainEvent>> {
    let mut before = Vec::new();
    let search = async {
        while let Some(event) = events.next().await {
            if is_it(&event) {
                return Ok(());
            }
            before.push(event);
        }
        bail!("the chain's events ended")
    };
    let found = tokio::time::timeout(LIMIT, search).await;
    found.with_context(|| format!("no {what} within {LIMIT:?}"))??;
    Ok(before)
}

fn question(subnet: SubnetId) -> Request {
    let sampling = SamplingOptions {
        max_tokens: 16,
        ..SamplingOptions::default()
    };
    Request::new(subnet, Prompt::Text(PROMPT.into()), sampling)
}

/// `//Consumer` asks for an answer on chain.
async fn request_job(net: &Localnet, subnet: SubnetId) -> Result<(JobId, NodeId)> {
    let request = Call::RequestJob {
        subnet,
        prompt: PROMPT.into(),
        max_tokens: 16,
        fee: 5 * QPU,
    };
    let consumer = Keypair::from_uri("//Consumer")?;
    let included = net.chain.submit(&consumer, request).await?;
    net.finalized(included.number).await?;
    let job = included.events.iter().find_map(|event| match event {
        ChainEvent::JobRequested { job, node, .. } => Some((*job, *node)),
        _ => None,
    });
    job.context("the chain named no new job")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_away_answers_what_was_asked_and_takes_its_new_price() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let mut net = Localnet::start(Programs::find()?, folder.path(), 1).await?;
    let subnet = net.register_model(&model).await?;
    net.serve(subnet, &model, &["0:30".to_owned()]).await?;
    let mut worker = net.workers.remove(0);
    let node = worker.node;
    let status = worker.process.terminate(LIMIT).await?;
    ensure!(status.success(), "the worker ended with {status}");

    // It kept its seat, so that the chain gives it a job that it can't see come.
    let (job, assigned) = request_job(&net, subnet).await?;
    assert_eq!(assigned, node);
    assert_eq!(net.chain.open_jobs(node).await?, [job]);
    ensure!(net.chain.open_jobs(node + 1).await?.is_empty());

    let dearer = 2 * PRICE;
    let mut events = net.chain.events().await?;
    let server = Server::new(&net.folder, subnet, 0)?;
    let options = ["--blocks", "0:30", "--price", &dearer.to_string()];
    net.start_worker_with(subnet, &model, server, node, &options)
        .await?;
    let done =
        |event: &ChainEvent| matches!(event, ChainEvent::JobDone { job: done } if *done == job);
    let before = until(&mut events, "answer", done).await?;
    let info = net.chain.job(job).await?.context("the job's record")?;
    let JobStatus::Done {
        answer, session, ..
    } = info.status
    else {
        bail!("the job is not done: {:?}", info.status)
    };
    assert_eq!(String::from_utf8_lossy(&answer), ANSWER);
    let answered = net.chain.session(session).await?.context("its session")?;
    ensure!(
        answered.receipt_root.is_some(),
        "the session is not settled"
    );
    ensure!(net.chain.open_jobs(node).await?.is_empty());

    // The price changed without the seat being left for a moment.
    assert!(
        before.contains(&ChainEvent::NodeChanged { node }),
        "{before:?}"
    );
    let left = ChainEvent::RosterChanged { subnet };
    assert!(!before.contains(&left), "{before:?}");
    net.all_serve(subnet).await?;
    let seat = seat(&net, subnet, node).await?.context("the seat")?;
    assert_eq!(seat.price, dearer);

    // The next session is opened and paid at it.
    let consumer = Consumer::connect(&net, &model).await?;
    let generation = consumer.client().generate(question(subnet), |_| {}).await?;
    assert_eq!(generation.text, ANSWER);
    closing_block(&mut events, generation.session).await?;
    let paid = net.chain.session(generation.session).await?;
    let paid = paid.context("its record")?;
    let [server] = &paid.servers[..] else {
        bail!("{:?}", paid.servers)
    };
    let positions = (generation.prompt_tokens.len() + generation.tokens.len() - 1) as u32;
    assert_eq!((server.price, server.positions), (dearer, positions));
    assert_eq!(Some(server.earned), cost(dearer, 30, positions));
    Ok(())
}

/// Memory for at least half of the model's blocks, and less than all.
fn memory_for_half(model: &Path, positions: u64) -> Result<String> {
    /// What a worker keeps for everything else.
    const RESERVE: u64 = 256 << 20;
    let model = Model::open(model)?;
    let config = model.config();
    // The reproducible kernels keep weights as they are stored.
    let stored = (0..config.blocks).map(|block| model.stored_block_bytes(block));
    let block = stored.collect::<Result<Vec<u64>, _>>()?.into_iter().max();
    let block = block.context("a model without blocks")?;
    let cache = config.kv_bytes_per_token_and_block() as u64 * positions;
    let half = config.blocks as u64 / 2 + 2;
    Ok((RESERVE + half * (block + cache)).to_string())
}

/// Asks until the servers have heard of each other.
async fn ask(net: &Localnet, model: &Path, subnet: SubnetId) -> Result<Generation> {
    let consumer = Consumer::connect(net, model).await?;
    let mut events = net.chain.events().await?;
    let asking = async {
        loop {
            match consumer.client().generate(question(subnet), |_| {}).await {
                Err(ClientError::NoRoute { .. }) => {
                    events.next().await.context("the chain's events ended")?;
                }
                answer => return Ok::<_, anyhow::Error>(answer?),
            }
        }
    };
    let answer = tokio::time::timeout(LIMIT, asking).await;
    answer.with_context(|| format!("no answer within {LIMIT:?}"))?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_chooses_its_blocks_moves_to_those_that_nobody_serves() -> Result<()> {
    const HALVES: [Span; 2] = [Span { start: 0, end: 15 }, Span { start: 15, end: 30 }];
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let mut net = Localnet::start(Programs::find()?, folder.path(), 1).await?;
    let subnet = net.register_model(&model).await?;
    let servers: Vec<Server> = (0..3)
        .map(|index| Server::new(&net.folder, subnet, index))
        .collect::<Result<_>>()?;
    let register = servers
        .iter()
        .map(|server| net.register_server(subnet, server));
    let nodes = try_join_all(register).await?;
    let price = PRICE.to_string();
    let memory = memory_for_half(&model, 1024)?;
    let halves = HALVES.map(|half| half.to_string());
    let told = |half| vec!["--blocks", half, "--leave-on-exit"];
    let by_itself = [
        "--memory",
        &memory,
        "--kv-positions",
        "1024",
        "--look-every",
        "1",
    ];
    let options = [told(&halves[0]), told(&halves[1]), by_itself.to_vec()];
    for (index, (server, mut options)) in servers.into_iter().zip(options).enumerate() {
        if index == 2 {
            // It chooses when it sees the others.
            net.all_serve(subnet).await?;
        }
        options.extend(["--price", &price]);
        net.start_worker_with(subnet, &model, server, nodes[index], &options)
            .await?;
    }
    net.all_serve(subnet).await?;
    let mobile = nodes[2];
    let first = seat(&net, subnet, mobile).await?.context("a seat")?.span;
    let there = HALVES.iter().position(|half| *half == first);
    let there = there.with_context(|| format!("it stands by for {first}"))?;

    // The other half loses its only server.
    let mut events = net.chain.events().await?;
    let mut leaver = net.workers.remove(1 - there);
    let status = leaver.process.terminate(LIMIT).await?;
    ensure!(status.success(), "the worker ended with {status}");
    let moved = async {
        loop {
            let now = seat(&net, subnet, mobile).await?.map(|seat| seat.span);
            if now == Some(HALVES[1 - there]) {
                return Ok::<_, anyhow::Error>(());
            }
            events.next().await.context("the chain's events ended")?;
        }
    };
    let moved = tokio::time::timeout(LIMIT, moved).await;
    moved.with_context(|| format!("it did not move within {LIMIT:?}"))??;
    let subnet_info = net.chain.subnet(subnet).await?.context("the subnet")?;
    assert!(subnet_info.status.is_active());

    // It serves there, from its new socket.
    let generation = ask(&net, &model, subnet).await?;
    assert_eq!(generation.text, ANSWER);
    assert!(generation.paid.iter().any(|paid| paid.node == mobile));
    Ok(())
}
