//! What a cheat costs, with real processes and the real model: one server of a session leaves a block out, an
//! auditor lies about the other, seven more sit in judgement, and one of them is killed between its commitment
//! and its verdict.

use anyhow::{bail, ensure, Context, Result};
use futures::{future::try_join_all, StreamExt};
use quipu_chain::{show_account, Keypair, Ledger};
use quipu_client::{Prompt, Request, SamplingOptions};
use quipu_primitives::{
    audit::{Outcome, Round, Stage, Subject, Verdict},
    money::QPU,
    views::{AuditInfo, JobStatus},
    AccountBytes, Balance, NodeId, SubnetId,
};
use quipu_tests::{
    demo::{closing_block, Consumer},
    localnet::{model_folder, write_specification, Localnet, Programs, Server, PRICE},
    process::Process,
};
use quipu_worker_core::{
    ports::{Call, Chain, ChainEvent},
    Signer,
};
use serde_json::{json, Value};
use std::{path::Path, time::Duration};

/// How long the chain may take for what is waited for.
const LIMIT: Duration = Duration::from_secs(180);
const ENDOWMENT: Balance = 1_000_000 * QPU;
/// What is bonded for a server and each of the seven: no less may be drawn.
const BOND: Balance = 10_000 * QPU;
const BOND_OF_LIAR: Balance = 20_000 * QPU;
/// What a verdict costs that a trial finds to be false.
const FALSE_VERDICT: Balance = 500 * QPU;
/// Of the two servers, the auditor who lies, and those who sit in judgement.
const LIAR: usize = 2;
const NODES: usize = 10;
/// The first that is registered.
const SUBNET: SubnetId = 1;

/// A chain of one validator that audits all work. Epochs and eras are short, and members of a panel have time:
/// what ends when everybody is done does not take longer for it.
async fn specification(programs: &Programs, folder: &Path) -> Result<String> {
    let file = folder.join("audited.json");
    write_specification(programs, "dev-fast", false, &file).await?;
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let genesis = &mut spec["genesis"]["runtimeGenesis"]["patch"];
    ensure!(genesis.is_object(), "the specification has another form");
    genesis["audits"]["rate"] = json!(1_000_000_000);
    let schedule = &mut genesis["clock"]["schedule"];
    schedule["epochSlots"] = json!(10);
    schedule["sessionsPerEra"] = json!(2);
    schedule["auditBlocks"] = json!(300);
    schedule["revealBlocks"] = json!(100);
    let balances = genesis["balances"]["balances"].as_array_mut();
    let balances = balances.context("the specification has no balances")?;
    for index in 1..=NODES {
        let account = Keypair::from_uri(&format!("//Server{index}"))?.public();
        let account = json!(show_account(&account));
        if !balances.iter().any(|entry| entry[0] == account) {
            balances.push(json!([account, ENDOWMENT as u64]));
        }
    }
    std::fs::write(&file, spec.to_string())?;
    Ok(file.display().to_string())
}

/// Waits until there is something to be made of the chain's state, block by block.
async fn until<T>(
    net: &Localnet,
    what: &str,
    look: impl AsyncFn(&Localnet) -> Result<Option<T>>,
) -> Result<T> {
    let search = async {
        let mut events = net.chain.events().await?;
        loop {
            if let Some(found) = look(net).await? {
                return Ok(found);
            }
            events.next().await.context("the chain's events ended")?;
        }
    };
    let found = tokio::time::timeout(LIMIT, search).await;
    found.with_context(|| format!("no {what} within {LIMIT:?}"))?
}

async fn audit(net: &Localnet, subject: Subject) -> Result<Option<AuditInfo<AccountBytes>>> {
    Ok(net.chain.audit(subject).await?)
}

/// Waits for an audit to be so.
async fn audited(
    net: &Localnet,
    subject: Subject,
    what: &str,
    is_so: impl Fn(&AuditInfo<AccountBytes>) -> bool,
) -> Result<AuditInfo<AccountBytes>> {
    until(net, what, async |net| {
        Ok(audit(net, subject).await?.filter(&is_so))
    })
    .await
}

fn outcome(audit: &AuditInfo<AccountBytes>) -> Option<Outcome> {
    match audit.stage {
        Stage::Closed { outcome, .. } => Some(outcome),
        _ => None,
    }
}

fn has_committed(audit: &AuditInfo<AccountBytes>, node: NodeId) -> bool {
    let mut members = audit.members.iter();
    members.any(|member| member.node == node && member.commitment.is_some())
}

/// A node's bond in the last final block, once nothing of it waits to be slashed.
async fn bond(net: &Localnet, id: NodeId) -> Result<Option<Balance>> {
    let roster = net.chain.roster(SUBNET).await?;
    let own = roster.into_iter().find(|info| info.id == id);
    let own = own.context("the node is gone")?;
    Ok((own.pending_slash == 0).then_some(own.self_bond))
}

struct World {
    net: Localnet,
    /// Those that serve, then those that audit.
    nodes: Vec<NodeId>,
    auditors: Vec<Server>,
    _running: Vec<Process>,
}

impl World {
    /// The server of the n-th node, which audits.
    fn auditor(&self, index: usize) -> &Server {
        &self.auditors[index + self.auditors.len() - self.nodes.len()]
    }

    async fn start(&self, index: usize, model: &Path) -> Result<Process> {
        let auditor = self.auditor(index);
        self.net.start_auditor(SUBNET, model, auditor).await
    }
}

/// A swarm of these servers with these blocks, and these auditors, of whom the last `absent` are registered and
/// not there yet.
async fn world(
    folder: &Path,
    model: &Path,
    blocks: &[&str],
    mut servers: Vec<Server>,
    absent: usize,
) -> Result<World> {
    let programs = Programs::find()?;
    let chain = specification(&programs, folder).await?;
    let mut net = Localnet::start_alone(programs, folder, &chain).await?;
    let subnet = net.register_model(model).await?;
    ensure!(subnet == SUBNET, "the first subnet is {subnet}");
    let register = servers
        .iter()
        .map(|server| net.register_server(subnet, server));
    let nodes = try_join_all(register).await?;
    let auditors = servers.split_off(blocks.len());
    for ((server, node), blocks) in servers.into_iter().zip(&nodes).zip(blocks) {
        net.start_worker(subnet, model, server, *node, blocks)
            .await?;
    }
    net.all_serve(subnet).await?;
    let start = auditors[..auditors.len() - absent]
        .iter()
        .map(|auditor| net.start_auditor(subnet, model, auditor));
    let running = try_join_all(start).await?;
    Ok(World {
        net,
        nodes,
        auditors,
        _running: running,
    })
}

fn servers(folder: &Path) -> Result<Vec<Server>> {
    let all = (0..NODES).map(|index| Server::new(folder, SUBNET, index));
    all.collect()
}

/// What accounts gained between two blocks.
struct Change {
    before: Ledger,
    after: Ledger,
}

impl Change {
    fn of(&self, uri: &str) -> Result<i128> {
        let account = Keypair::from_uri(uri)?.public();
        let of = |ledger: &Ledger| ledger.balances.get(&account).copied();
        let (before, after) = (of(&self.before), of(&self.after));
        let (before, after) = before.zip(after).context("an account is gone")?;
        Ok(after as i128 - before as i128)
    }

    /// Fees that an account paid.
    async fn fees(&self, net: &Localnet, uri: &str) -> Result<i128> {
        let account = Keypair::from_uri(uri)?.public();
        let (from, to) = (self.before.block + 1, self.after.block);
        let paid = net.chain.fees_between(from, to).await?;
        let own = paid.iter().filter(|paid| paid.who == account);
        Ok(own.map(|paid| paid.fee).sum::<Balance>() as i128)
    }
}

async fn ledger(net: &Localnet) -> Result<Ledger> {
    Ok(net.chain.ledger_at(net.chain.finalized().await?).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cheat_is_slashed_an_honest_server_paid_and_a_lying_auditor_loses_its_stake() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let mut servers = servers(folder.path())?;
    servers[1].cheat = Some("skip-layer".into());
    servers[LIAR].cheat = Some("accuser".into());
    servers[LIAR].bond = BOND_OF_LIAR;
    // Nobody but the liar can be drawn to look first.
    for judge in &mut servers[LIAR + 1..] {
        judge.bond = 0;
    }
    let blocks = ["0:15", "15:30"];
    let world = world(folder.path(), &model, &blocks, servers, 2).await?;
    let World { net, nodes, .. } = &world;
    let (honest, cheat, liar) = (nodes[0], nodes[1], nodes[LIAR]);
    let consumer = Consumer::connect(net, &model).await?;
    let mut events = net.chain.events().await?;
    let before = ledger(net).await?;

    let sampling = SamplingOptions {
        max_tokens: 16,
        ..SamplingOptions::default()
    };
    let prompt = Prompt::Text("What is the capital of France?".into());
    let request = Request::new(SUBNET, prompt, sampling);
    let answer = consumer.client().generate(request, |_| {}).await?;
    ensure!(
        answer.text != "The capital of France is Paris.",
        "the cheat made no difference"
    );
    let of = |node| Subject {
        session: answer.session,
        node,
    };
    let (of_honest, of_cheat) = (of(honest), of(cheat));
    for subject in [of_honest, of_cheat] {
        let drawn = audited(net, subject, "first look", |audit| {
            audit.members.iter().any(|member| member.node == liar)
        });
        drawn.await?;
    }
    // Now the others may be drawn as well: there are two epochs between the liar's look and theirs.
    let judges = LIAR + 1..NODES;
    let bonded = judges.map(|judge| net.bond(world.auditor(judge), nodes[judge], BOND));
    try_join_all(bonded).await?;

    // The seven are drawn for the cheat. Of those who were not there one commits, is killed, and comes back
    // when everybody has committed.
    let (first, last) = (NODES - 2, NODES - 1);
    let mut killed = world.start(first, &model).await?;
    audited(net, of_cheat, "commitment of who is killed", |audit| {
        audit.round == Round::Committee && has_committed(audit, nodes[first])
    })
    .await?;
    killed.kill().await?;
    let _last = world.start(last, &model).await?;
    let revealing = audited(net, of_cheat, "revealing", |audit| {
        matches!(audit.stage, Stage::Revealing { .. })
    });
    let committed = revealing.await?;
    ensure!(committed.members.len() == 7, "{:?}", committed.members);
    let mut members = committed.members.iter();
    let own = members.find(|member| member.node == nodes[first]);
    ensure!(own.is_some_and(|own| own.finding.is_none()));
    let _again = world.start(first, &model).await?;

    let closed = audited(net, of_cheat, "verdict on the cheat", |audit| {
        outcome(audit).is_some()
    });
    let closed = closed.await?;
    assert_eq!(outcome(&closed), Some(Outcome::Convicted));
    let verdicts = closed.members.iter().map(|member| {
        let finding = member.finding.map(|finding| finding.verdict);
        (member.node, finding)
    });
    for (member, verdict) in verdicts {
        assert_eq!(verdict, Some(Verdict::Fail), "of {member}");
    }
    let closed = audited(net, of_honest, "verdict on the honest", |audit| {
        outcome(audit).is_some()
    });
    assert_eq!(outcome(&closed.await?), Some(Outcome::Acquitted));

    // Now the session is paid out, and an era later it is taken what the two lose.
    closing_block(&mut events, answer.session).await?;
    until(net, "slash", async |net| {
        let (cheat, liar) = (bond(net, cheat).await?, bond(net, liar).await?);
        let is_less = |bond: Option<Balance>, than| bond.is_some_and(|bond| bond < than);
        Ok((is_less(cheat, BOND) && is_less(liar, BOND_OF_LIAR)).then_some(()))
    })
    .await?;
    let record = net.chain.session(answer.session).await?;
    let record = record.context("the session's record")?;
    let [work, wrong] = &record.servers[..] else {
        bail!("{:?}", record.servers)
    };
    ensure!((work.node, wrong.node) == (honest, cheat));
    ensure!(work.earned > 0 && work.earned == PRICE * 15 * Balance::from(work.positions));
    let slash = (300 * wrong.earned).max(BOND / 100);
    assert_eq!(bond(net, cheat).await?, Some(BOND - slash));
    assert_eq!(bond(net, liar).await?, Some(BOND_OF_LIAR - FALSE_VERDICT));
    assert_eq!(bond(net, honest).await?, Some(BOND));
    for judge in &nodes[LIAR + 1..] {
        assert_eq!(bond(net, *judge).await?, Some(BOND));
    }

    // The honest server has its pay, and a fifth of what the liar lost; the cheat has none. The consumer pays for
    // the honest work alone, and has a fifth of what the cheat lost. Two fifths go to who found it.
    let after = ledger(net).await?;
    let change = Change { before, after };
    let small = |amount: Balance| amount as i128;
    let defamed = FALSE_VERDICT / 5;
    assert_eq!(change.of("//Server1")?, small(work.earned + defamed));
    assert_eq!(change.of("//Server2")?, -small(slash));
    let reward = slash * 2 / 5;
    assert_eq!(
        change.of("//Server3")?,
        small(reward) - small(FALSE_VERDICT)
    );
    let fees = change.fees(net, "//Consumer").await?;
    let paid = small(slash / 5) - small(work.earned) - fees;
    assert_eq!(change.of("//Consumer")?, paid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_out_of_thin_air_costs_who_gave_it_and_the_fee_goes_back() -> Result<()> {
    const FEE: Balance = 5 * QPU;
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let mut servers = servers(folder.path())?;
    servers[0].cheat = Some("old-answer".into());
    // One looks first, seven judge.
    servers.truncate(9);
    let world = world(folder.path(), &model, &["0:30"], servers, 0).await?;
    let World { net, nodes, .. } = &world;
    let mut events = net.chain.events().await?;
    let before = ledger(net).await?;
    let request = Call::RequestJob {
        subnet: SUBNET,
        prompt: "What is the capital of France?".into(),
        max_tokens: 16,
        fee: FEE,
    };
    let asks = Keypair::from_uri("//Consumer")?;
    let included = net.chain.submit(&asks, request).await?;
    let job = included.events.iter().find_map(|event| match event {
        ChainEvent::JobRequested { job, .. } => Some(*job),
        _ => None,
    });
    let job = job.context("the chain named no new job")?;
    let session = until(net, "answer", async |net| {
        let info = net.chain.job(job).await?.context("the job's record")?;
        Ok(match info.status {
            JobStatus::Done { session, .. } => Some(session),
            _ => None,
        })
    })
    .await?;
    let subject = Subject {
        session,
        node: nodes[0],
    };
    let closed = audited(net, subject, "verdict", |audit| outcome(audit).is_some());
    let closed = closed.await?;
    assert_eq!(outcome(&closed), Some(Outcome::Convicted), "{closed:?}");
    closing_block(&mut events, session).await?;
    until(net, "slash", async |net| {
        let left = bond(net, nodes[0]).await?;
        Ok(left.filter(|left| *left < BOND).map(|_| ()))
    })
    .await?;
    let record = net.chain.session(session).await?;
    let record = record.context("the session's record")?;
    let [served] = &record.servers[..] else {
        bail!("{:?}", record.servers)
    };
    let slash = 300 * (served.earned + FEE);
    assert_eq!(bond(net, nodes[0]).await?, Some(BOND - slash));
    let info = net.chain.job(job).await?.context("the job's record")?;
    ensure!(
        matches!(info.status, JobStatus::Done { paid: false, .. }),
        "{:?}",
        info.status
    );
    let after = ledger(net).await?;
    let change = Change { before, after };
    let fees = change.fees(net, "//Consumer").await?;
    assert_eq!(change.of("//Consumer")?, (slash / 5) as i128 - fees);
    Ok(())
}
