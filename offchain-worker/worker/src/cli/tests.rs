//! The command line on a chain in memory.

use super::{
    ask,
    chat::History,
    context::{Context, People},
    *,
};
use async_trait::async_trait;
use clap::CommandFactory;
use quipu_chain::Keypair;
use quipu_client::{
    ClientOptions, Drafted, EngineEnds, Finish, Generation, Message, Settlement, Timing,
};
use quipu_primitives::{
    economy::{Bucket, BurnSource, QuotaInfo, StakeIncome, SupplyInfo},
    money::QPU,
    views::{DelegationChunk, DelegationInfo, NodeInfo, PoolInfo, SubnetInfo},
    AccountBytes, Balance, DType, InQpu, Kernel, NodeId, Span, SubnetId,
};
use quipu_protocol::limits::MAX_DRAFTED;
use quipu_testkit::{FakeChain, TinyFiles};
use quipu_worker_core::{
    ports::{Call, Chain, ChainError, ChainEvent, EconomyCall},
    Signer,
};
use serde_json::Value;
use std::{
    io::Write,
    sync::{Arc, Mutex},
};

#[async_trait]
impl People for FakeChain {
    async fn all_subnets(&self) -> Result<Vec<SubnetInfo<AccountBytes>>, ChainError> {
        let mut all = Vec::new();
        for id in 0..100 as SubnetId {
            all.extend(self.subnet(id).await?);
        }
        Ok(all)
    }

    async fn node_by_id(&self, id: NodeId) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        let mut found = None;
        for subnet in 0..100 {
            found = found.or(self
                .roster(subnet)
                .await?
                .into_iter()
                .find(|node| node.id == id));
        }
        Ok(found)
    }

    async fn deposit(&self) -> Result<Balance, ChainError> {
        Ok(QPU)
    }

    async fn supply(&self) -> Result<SupplyInfo<AccountBytes>, ChainError> {
        Ok(SupplyInfo {
            total: 30 * QPU,
            genesis: 20 * QPU,
            issued: 12 * QPU,
            burned: vec![(BurnSource::Fee, 2 * QPU)],
            today: 24 * QPU,
            period_total: 100 * QPU,
            period_left: 88 * QPU,
            buckets: vec![(Bucket::Compute, [7; 32], 12 * QPU)],
        })
    }

    async fn stake_income(&self, node: NodeId) -> Result<StakeIncome, ChainError> {
        Ok(StakeIncome {
            stake: node.into(),
            total_stake: 100,
            earned: 3 * QPU,
            per_day: QPU / 2,
        })
    }

    async fn pool(&self, node: NodeId) -> Result<Option<PoolInfo>, ChainError> {
        Ok(Some(PoolInfo {
            node,
            amount: 500 * QPU,
            shares: 500 * QPU,
            leaving: 0,
            delegators: 2,
            commission_parts: 125_000_000,
            closed_until: None,
            rewards: 0,
            owner_rewards: 7 * QPU,
        }))
    }

    async fn delegation(
        &self,
        node: NodeId,
        delegator: AccountBytes,
    ) -> Result<Option<DelegationInfo>, ChainError> {
        Ok((delegator == [9; 32]).then_some(DelegationInfo {
            node,
            amount: 40 * QPU,
            shares: 40 * QPU,
            liable: 10 * QPU,
            rewards: QPU,
            chunks: vec![DelegationChunk {
                amount: 3 * QPU,
                release_at: 77,
            }],
        }))
    }

    async fn quota(&self, holder: AccountBytes) -> Result<QuotaInfo, ChainError> {
        Ok(QuotaInfo {
            locked: u128::from(holder[0]),
            quota: 2 * QPU,
            left: QPU,
            ..Default::default()
        })
    }
}

/// What was written.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Desk {
    chain: Arc<FakeChain>,
}

impl Desk {
    fn new() -> Self {
        let chain = FakeChain::new();
        for uri in ["//Creator", "//Server1", "//Consumer"] {
            chain.fund(Keypair::from_uri(uri).unwrap().public(), 1_000_000 * QPU);
        }
        Desk { chain }
    }

    /// Runs a command line as a process would, and gives what it printed.
    async fn run(&self, arguments: &[&str]) -> Result<String, CliError> {
        let cli = Cli::try_parse_from([&["quipu"], arguments].concat()).unwrap();
        let signer = cli.common.optional_signer()?;
        cli.command.check(&cli.common)?;
        let context = Context {
            chain: self.chain.clone(),
            signer,
        };
        let page = Page::default();
        let mut printer = Printer::new(
            cli.common.json,
            Box::new(page.clone()),
            Box::new(std::io::sink()),
        );
        run(cli.command, &context, &mut printer).await?;
        let bytes = page.0.lock().unwrap().clone();
        Ok(String::from_utf8(bytes).unwrap())
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.run(&[&["--json"], arguments].concat()).await.unwrap();
        serde_json::from_str(printed.lines().last().unwrap()).unwrap()
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn options_of_every_command_stand_anywhere() {
    for arguments in [
        &["quipu", "--json", "--key", "//Alice", "balance"][..],
        &["quipu", "balance", "--key", "//Alice", "--json"],
    ] {
        let cli = Cli::try_parse_from(arguments).unwrap();
        assert!(cli.common.json);
        assert!(cli.common.signer().is_ok());
    }
    let cli = Cli::try_parse_from(["quipu", "account", "--key", "//A", "--key-file", "x"]).unwrap();
    assert!(matches!(cli.common.signer(), Err(CliError::TwoKeys)));
}

#[test]
fn amounts_are_exact() {
    for (text, amount) in [
        ("10000", Some(10_000)),
        ("1QPU", Some(QPU)),
        ("1.5QPU", Some(QPU * 3 / 2)),
        ("1.5 QPU", Some(QPU * 3 / 2)),
        ("0.000000000001qpu", Some(1)),
        ("10_000QPU", Some(10_000 * QPU)),
        ("0.0000000000001QPU", None),
        ("1.5", None),
        ("-1", None),
        ("1.QPU", None),
        (".5QPU", None),
        ("QPU", None),
        ("", None),
        ("1e3", None),
        ("340282366920938463463374607431768211456", None),
        ("340282366920938463463374608QPU", None),
    ] {
        assert_eq!(
            text.parse::<Amount>().ok().map(|amount| amount.0),
            amount,
            "{text}"
        );
    }
    for amount in [0, 1, QPU - 1, QPU, 3 * QPU / 2, 123_456 * QPU + 78] {
        assert_eq!(
            InQpu(amount).to_string().parse::<Amount>(),
            Ok(Amount(amount))
        );
    }
}

#[test]
fn accounts_are_read_as_people_write_them() {
    let alice = Keypair::from_uri("//Alice").unwrap().public();
    for text in [
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
        "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
        "//Alice",
    ] {
        assert_eq!(text.parse::<Account>(), Ok(Account(alice)), "{text}");
    }
    for text in [
        "",
        "Alice",
        "0xd435",
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
    ] {
        assert!(text.parse::<Account>().is_err(), "{text}");
    }
}

#[test]
fn peers_are_read_in_both_forms() {
    let peer = quipu_network::Keypair::generate_ed25519()
        .public()
        .to_peer_id();
    let hex = format!("0x{}", hex::encode(peer.to_bytes()));
    for text in [peer.to_string(), hex] {
        assert_eq!(text.parse::<Peer>(), Ok(Peer(peer.to_bytes())));
    }
    assert!("12D3KooWnonsense".parse::<Peer>().is_err());
    assert!("0x00".parse::<Peer>().is_err());
}

#[test]
fn how_far_is_guessed_ahead_is_up_to_who_asks() {
    let options = |command: &[&str], more: &[&str]| {
        let whom = ["--subnet", "1", "--model", "x"];
        let cli = Cli::try_parse_from([&["quipu"], command, &whom, more].concat())?;
        Ok::<_, clap::Error>(match cli.command {
            Command::Generate(args) => args.ask.options(),
            Command::Chat(args) => args.ask.options(),
            other => panic!("{other:?}"),
        })
    };
    for command in [&["generate", "--prompt", "y"][..], &["chat"]] {
        assert_eq!(options(command, &[]).unwrap(), ClientOptions::default());
        for draft in [0, 1, MAX_DRAFTED] {
            let chosen = options(command, &["--draft", &draft.to_string()]).unwrap();
            assert_eq!(chosen.draft, draft);
        }
        let beyond = (MAX_DRAFTED + 1).to_string();
        let error = options(command, &["--draft", &beyond]).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("--draft") && told.contains(&format!("not in 0..={MAX_DRAFTED}")),
            "{told}"
        );
        assert!(options(command, &["--draft", "some"]).is_err());
    }
}

#[test]
fn the_end_of_an_answer_tells_how_many_guesses_were_right() {
    let drafted = Drafted {
        rounds: 2,
        drafted: 8,
        accepted: 6,
    };
    let guessing = Generation {
        text: "knots".into(),
        tokens: vec![1; 9],
        prompt_tokens: vec![1; 3],
        session: 5,
        receipt_root: [0; 32],
        settlement: Some(Settlement {
            block: 7,
            hash: None,
        }),
        paid: Vec::new(),
        finish: Finish::Stop,
        timing: Timing {
            decode_rate: 4.0,
            ..Timing::default()
        },
        drafted,
        failovers: Vec::new(),
        abandoned: Vec::new(),
    };
    assert_eq!(
        ask::summary(&guessing),
        "[9 tokens, first after 0.00 s, then 4.0 per second, 6 of 8 guesses right; 0 QPU to 0 \
         servers, settled in block 7]"
    );
    let counts = |generation: &Generation| {
        let timing = &ask::value(generation)["timing"];
        ["guessing_rounds", "guessed_tokens", "guessed_right"].map(|field| timing[field].as_u64())
    };
    assert_eq!(counts(&guessing), [Some(2), Some(8), Some(6)]);

    // Who guessed nothing is not told of it.
    let plain = Generation {
        drafted: Drafted::default(),
        ..guessing
    };
    assert!(!ask::summary(&plain).contains("guess"));
    assert_eq!(counts(&plain), [Some(0); 3]);
}

/// What registers the tiny model at `path`, with further options.
fn registering<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let what = ["--key", "//Creator", "subnet", "register", "--model", path];
    let terms = ["--license", "Apache-2.0", "--uri", "file:tiny"];
    [&what[..], &["--name", "tiny"], &terms, more].concat()
}

#[tokio::test]
async fn a_model_is_registered_with_its_digests_and_found_again() {
    let (desk, files) = (Desk::new(), TinyFiles::new(1));
    let path = files.path().to_str().unwrap();
    let profiles = ["--profile", "flex-f32", "--profile", "reproducible-v1"];
    let registered = desk.json(&registering(path, &profiles)).await;
    assert_eq!(registered["subnet"], 1);
    // The very manifest that a server will compare its files with.
    let subnet = desk.chain.subnet(1).await.unwrap().unwrap();
    assert_eq!(subnet.manifest, files.manifest());

    let shown = desk.json(&["subnet", "show", "1"]).await;
    assert_eq!(shown["weights_root"], registered["weights_root"]);
    assert_eq!(
        (&shown["name"], &shown["active"]),
        (&"tiny".into(), &false.into())
    );
    let listed = desk.json(&["subnet", "list"]).await;
    assert_eq!(listed["subnets"].as_array().unwrap().len(), 1);
    assert!(desk
        .run(&["subnet", "list"])
        .await
        .unwrap()
        .contains("waits for servers"));
    assert_eq!(shown["status"], "uncovered");
    desk.chain.pause_subnet(1, true);
    assert_eq!(
        desk.json(&["subnet", "show", "1"]).await["status"],
        "paused"
    );
    let listed = desk.run(&["subnet", "list"]).await.unwrap();
    assert!(listed.contains("paused by its creator"), "{listed}");
    assert!(matches!(
        desk.run(&["subnet", "show", "7"]).await,
        Err(CliError::NoSubnet(7))
    ));
}

#[tokio::test]
async fn a_creator_chooses_how_activations_cross_the_wire() {
    let (desk, files) = (Desk::new(), TinyFiles::new(1));
    let path = files.path().to_str().unwrap();
    let register = |more: &[&'static str]| registering(path, more);
    let twice = ["--profile", "flex-f32", "--profile", "flex-f32"];
    let both = [&twice[..], &["--profile", "reproducible-v1"]].concat();
    let (f16, bf16) = (["--activations", "f16"], ["--activations", "bf16"]);
    let default = [Kernel::ReproducibleV1];
    let chosen = [Kernel::FlexF32, Kernel::ReproducibleV1];
    for (more, activations, kernels) in [
        (vec![], DType::F32, &default[..]),
        (f16.to_vec(), DType::F16, &default),
        ([&both[..], &bf16].concat(), DType::Bf16, &chosen),
    ] {
        let registered = desk.json(&register(&more)).await;
        let id = registered["subnet"].as_u64().unwrap() as SubnetId;
        let manifest = desk.chain.subnet(id).await.unwrap().unwrap().manifest;
        let profiles: Vec<_> = manifest.profiles.iter().collect();
        let found: Vec<Kernel> = profiles.iter().map(|profile| profile.kernel).collect();
        assert_eq!(found, kernels);
        for profile in profiles {
            assert_eq!((profile.activations, profile.kv), (activations, DType::F32));
        }
    }
    let shown = desk.json(&["subnet", "show", "2"]).await;
    assert_eq!(shown["profiles"][0]["profile"]["activations"], "f16");

    // What is never sent is refused with what is, before anything is read.
    let quantised = register(&["--activations", "q8_0"]);
    let error = Cli::try_parse_from([&["quipu"], &quantised[..]].concat()).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("--activations") && told.contains("f32, f16, bf16"),
        "{told}"
    );
}

#[tokio::test]
async fn bad_manifests_are_refused_before_they_are_submitted() {
    let (desk, files) = (Desk::new(), TinyFiles::new(1));
    let path = files.path().to_str().unwrap();
    let long = "x".repeat(65);
    let register = |model, name, key: &'static [&'static str]| {
        let rest = [
            "subnet",
            "register",
            "--model",
            model,
            "--name",
            name,
            "--license",
            "",
            "--uri",
            "",
        ];
        [key, &rest].concat()
    };
    let run = |arguments: Vec<&str>| {
        let arguments: Vec<String> = arguments.into_iter().map(String::from).collect();
        let desk = &desk;
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            desk.run(&arguments).await.unwrap_err()
        }
    };
    let key: &[&str] = &["--key", "//Creator"];
    assert!(matches!(
        run(register(path, "tiny", &[])).await,
        CliError::NoKey
    ));
    assert!(matches!(
        run(register("no/such/file", "tiny", key)).await,
        CliError::Weights(_)
    ));
    assert!(matches!(
        run(register(path, &long, key)).await,
        CliError::TooLong {
            option: "name",
            got: 65,
            most: 64
        }
    ));
    assert!(matches!(
        run(register(path, "", key)).await,
        CliError::Manifest(_)
    ));
    assert!(desk.chain.calls().is_empty());
}

#[tokio::test]
async fn a_server_registers_bonds_and_is_shown() {
    let (desk, files) = (Desk::new(), TinyFiles::new(1));
    let path = files.path().to_str().unwrap();
    desk.json(&registering(path, &[])).await;
    let peer = quipu_network::Keypair::generate_ed25519()
        .public()
        .to_peer_id()
        .to_string();
    let key = ["--key", "//Server1"];
    let as_server = |rest: &[&'static str]| [&key, rest].concat();
    let register = [
        "--key",
        "//Server1",
        "node",
        "register",
        "--subnet",
        "1",
        "--hotkey",
        "//Server1//hot",
        "--peer-id",
        &peer,
    ];
    let node = desk.json(&register).await["node"].clone();
    assert_eq!(node, 1);
    desk.json(&as_server(&[
        "node", "bond", "--node", "1", "--amount", "5QPU",
    ]))
    .await;
    desk.json(&as_server(&[
        "transfer",
        "--to",
        "//Server1//hot",
        "--amount",
        "100QPU",
    ]))
    .await;
    let shown = desk.json(&["node", "show", "--node", "1"]).await;
    assert_eq!(shown["peer_id"], peer.as_str());
    assert_eq!(shown["self_bond"], (5 * QPU).to_string());
    assert_eq!(shown["pending_slash"], "0");
    assert_eq!(shown["earns_per_day"], (QPU / 2).to_string());
    assert_eq!(shown["pool"]["commission_parts"], 125_000_000);
    let told = desk.run(&["node", "show", "--node", "1"]).await.unwrap();
    assert!(
        told.contains("earns 0.5 QPU a day, has 3 QPU to collect"),
        "{told}"
    );
    assert!(
        told.contains("500 QPU of 2 delegators, commission 12.5 %"),
        "{told}"
    );
    let hotkey = shown["hotkey"].as_str().unwrap();
    assert_eq!(
        desk.json(&["balance", hotkey]).await["free"],
        (100 * QPU).to_string()
    );
    assert!(desk
        .run(&["balance", hotkey])
        .await
        .unwrap()
        .contains("100 QPU"));
    desk.json(&as_server(&[
        "node", "unbond", "--node", "1", "--amount", "5QPU",
    ]))
    .await;
    assert!(matches!(
        desk.run(&["node", "show", "--node", "9"]).await,
        Err(CliError::NoNode(9))
    ));
    // What the chain refuses comes back as it says it.
    let error = desk
        .run(&["--key", "//Consumer", "node", "remove", "--node", "1"])
        .await;
    assert!(matches!(
        error,
        Err(CliError::Chain(ChainError::Dispatch { .. }))
    ));
}

#[tokio::test]
async fn sessions_quotes_and_jobs_are_shown() {
    let (desk, files) = (Desk::new(), TinyFiles::new(1));
    let apply = |uri: &str, call| {
        let account = Keypair::from_uri(uri).unwrap().public();
        desk.chain.apply(account, call).unwrap()
    };
    apply(
        "//Creator",
        Call::RegisterSubnet(Box::new(files.manifest())),
    );
    let hotkey = Keypair::from_uri("//Server1//hot").unwrap().public();
    let peer_id = quipu_network::Keypair::generate_ed25519()
        .public()
        .to_peer_id()
        .to_bytes();
    apply(
        "//Server1",
        Call::RegisterNode {
            subnet: 1,
            hotkey,
            peer_id,
        },
    );
    apply(
        "//Server1",
        Call::Bond {
            node: 1,
            amount: QPU,
        },
    );
    let profile = files.manifest().profiles[0].digest();
    let span = Span { start: 0, end: 4 };
    apply(
        "//Server1//hot",
        Call::Join {
            node: 1,
            span,
            price: 5,
            profile,
        },
    );
    let shown = desk.run(&["subnet", "show", "1"]).await.unwrap();
    assert!(
        shown.contains("4 of 4 blocks") && shown.contains("serves blocks 0:4"),
        "{shown}"
    );

    let quote = desk
        .json(&["quote", "--subnet", "1", "--positions", "10"])
        .await;
    assert_eq!(
        (&quote["total"], &quote["route"][0]["node"]),
        (&"200".into(), &1.into())
    );

    let opened = apply(
        "//Consumer",
        Call::OpenSession {
            subnet: 1,
            session_key: [1; 32],
            caps: vec![(1, 200)],
            duration: 9,
            seed_commitment: [2; 32],
            integrator: None,
        },
    );
    let [ChainEvent::SessionOpened { session, .. }] = opened.events[..] else {
        panic!()
    };
    let id = session.to_string();
    let shown = desk.json(&["session", "show", &id]).await;
    assert_eq!(shown["status"], "open");
    assert_eq!(shown["servers"][0]["cap"], "200");
    assert!(desk
        .run(&["session", "show", &id])
        .await
        .unwrap()
        .contains("0:4: 0 positions"));

    let request = [
        "--key",
        "//Consumer",
        "job",
        "request",
        "--subnet",
        "1",
        "--prompt",
        "why?",
        "--fee",
        "1QPU",
    ];
    let job = desk.json(&request).await["job"].to_string();
    let shown = desk.json(&["job", "show", &job]).await;
    assert_eq!(
        (&shown["status"], &shown["prompt"]),
        (&"assigned".into(), &"why?".into())
    );
    // Nobody answers; whoever waits is told.
    let waiting = [&request[..], &["--wait"]].concat();
    let (waited, ()) = tokio::join!(desk.run(&waiting), async {
        // The request is on chain once its fee is on hold.
        while desk.chain.calls().len() < 7 {
            tokio::task::yield_now().await;
        }
        desk.chain.advance(100);
    });
    assert!(matches!(waited, Err(CliError::Unanswered(_))), "{waited:?}");
}

#[tokio::test]
async fn supply_and_quotas_are_shown_and_quotas_locked() {
    let desk = Desk::new();
    let supply = desk.json(&["supply"]).await;
    assert_eq!(supply["total"], (30 * QPU).to_string());
    assert_eq!(supply["burned"]["fees"], (2 * QPU).to_string());
    assert_eq!(
        supply["buckets"]["compute"]["balance"],
        (12 * QPU).to_string()
    );
    let shown = desk.run(&["supply"]).await.unwrap();
    assert!(
        shown.contains("30 QPU exist: 20 QPU from genesis, 12 QPU emitted"),
        "{shown}"
    );
    assert!(shown.contains("burned by fees: 2 QPU"), "{shown}");

    let hex = hex::encode([9; 32]);
    let quota = desk.json(&["quota", "show", &hex]).await;
    assert_eq!(
        (&quota["locked"], &quota["left"]),
        (&"9".into(), &QPU.to_string().into())
    );
    let shown = desk.run(&["quota", "show", &hex]).await.unwrap();
    assert!(
        shown.contains("may use 2 QPU today, of which 1 QPU are left"),
        "{shown}"
    );
    assert!(matches!(
        desk.run(&["quota", "show"]).await,
        Err(CliError::NoKey)
    ));

    for (command, call) in [
        ("lock", EconomyCall::LockQuota { amount: 5 * QPU }),
        ("unlock", EconomyCall::UnlockQuota { amount: 5 * QPU }),
    ] {
        let arguments = ["quota", command, "--amount", "5QPU", "--key", "//Consumer"];
        desk.run(&arguments).await.unwrap();
        let (who, submitted) = desk.chain.calls().pop().unwrap();
        assert_eq!(who, Keypair::from_uri("//Consumer").unwrap().public());
        assert_eq!(submitted, Call::Economy(call));
    }
}

#[test]
fn shares_are_exact() {
    for (text, parts, shown) in [
        ("0", Some(0), "0 %"),
        ("12.5", Some(125_000_000), "12.5 %"),
        ("12.5%", Some(125_000_000), "12.5 %"),
        ("100", Some(1_000_000_000), "100 %"),
        ("0.0000001", Some(1), "0.0000001 %"),
        ("0.00000001", None, ""),
        ("100.1", None, ""),
        ("-1", None, ""),
        ("1.", None, ""),
        ("", None, ""),
        ("half", None, ""),
        ("340282366920938463463374607431768211455", None, ""),
    ] {
        let percent = text.parse::<Percent>().ok();
        assert_eq!(percent.map(|percent| percent.parts), parts, "{text}");
        if let Some(percent) = percent {
            assert_eq!(percent.to_string(), shown);
        }
    }
}

#[tokio::test]
async fn stake_is_delegated_moved_claimed_and_shown() {
    let desk = Desk::new();
    let (node, amount) = (3, 5 * QPU);
    let delegator = Keypair::from_uri("//Consumer").unwrap().public();
    let (from, to) = (3, 4);
    let one = ["--node", "3"];
    let some = ["--node", "3", "--amount", "5QPU"];
    let moving = ["--from", "3", "--to", "4", "--amount", "5QPU"];
    let share = ["--node", "3", "--percent", "12.5"];
    let cases: [(&[&str], &[&str], EconomyCall); 8] = [
        (
            &["delegation", "add"],
            &some,
            EconomyCall::Delegate { node, amount },
        ),
        (
            &["delegation", "remove"],
            &some,
            EconomyCall::Undelegate { node, amount },
        ),
        (
            &["delegation", "withdraw"],
            &one,
            EconomyCall::WithdrawDelegation { node, delegator },
        ),
        (&["delegation", "claim"], &one, EconomyCall::Claim { node }),
        (
            &["delegation", "move"],
            &moving,
            EconomyCall::MoveDelegation { from, to, amount },
        ),
        (&["node", "claim"], &one, EconomyCall::ClaimOwn { node }),
        (
            &["node", "commission"],
            &share,
            EconomyCall::SetCommission {
                node,
                parts: 125_000_000,
            },
        ),
        (
            &["node", "move-bond"],
            &moving,
            EconomyCall::MoveBond { from, to, amount },
        ),
    ];
    for (command, options, call) in cases {
        let arguments = [command, options, &["--key", "//Consumer"]].concat();
        desk.run(&arguments).await.unwrap();
        let (_, submitted) = desk.chain.calls().pop().unwrap();
        assert_eq!(submitted, Call::Economy(call), "{command:?}");
        assert!(matches!(
            desk.run(&[command, options].concat()).await,
            Err(CliError::NoKey)
        ));
    }
    let hex = hex::encode([9; 32]);
    let show = ["delegation", "show", "--node", "3", &hex];
    let shown = desk.json(&show).await;
    assert_eq!(shown["delegated"], (40 * QPU).to_string());
    assert_eq!(shown["unbonding"][0]["release_at"], 77);
    let shown = desk.run(&show).await.unwrap();
    assert!(
        shown.contains("40 QPU at stake for node 3, and may claim 1 QPU"),
        "{shown}"
    );
    assert!(shown.contains("10 QPU came from other nodes"), "{shown}");
    let shown = desk
        .run(&["delegation", "show", "--node", "3", "//Alice"])
        .await
        .unwrap();
    assert!(shown.contains("has nothing at stake for node 3"), "{shown}");
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let desk = Desk::new();
    assert!(matches!(
        desk.run(&["session", "show", "3"]).await,
        Err(CliError::NoSession(3))
    ));
    assert!(matches!(
        desk.run(&["job", "show", "3"]).await,
        Err(CliError::NoJob(3))
    ));
    let quote = ["quote", "--subnet", "1", "--positions", "10"];
    assert!(matches!(desk.run(&quote).await, Err(CliError::Quote(_))));
    assert!(matches!(desk.run(&["balance"]).await, Err(CliError::NoKey)));
    let ask = ["generate", "--subnet", "1", "--model", "x", "--prompt", "y"];
    let with_key = [&["--key", "//Consumer"], &ask[..]].concat();
    assert!(matches!(desk.run(&ask).await, Err(CliError::NoKey)));
    assert!(matches!(
        desk.run(&with_key).await,
        Err(CliError::NoBootstrap)
    ));
    let hot = [&with_key[..], &["--temperature", "-1"]].concat();
    assert!(matches!(desk.run(&hot).await, Err(CliError::Client(_))));
    let peer = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let model = [&with_key[..], &["--bootstrap", peer]].concat();
    assert!(matches!(desk.run(&model).await, Err(CliError::Weights(_))));
}

#[tokio::test]
async fn a_bootstrap_address_that_leads_nowhere_is_named() {
    let (desk, files) = (Desk::new(), TinyFiles::new(1));
    let path = files.path().to_str().unwrap();
    let ask = [
        "--key",
        "//Consumer",
        "generate",
        "--subnet",
        "1",
        "--prompt",
        "y",
        "--model",
        path,
        "--bootstrap",
    ];
    let with = |address| [&ask[..], &[address]].concat();
    let command = [&["quipu"], &with("boot.example:4001")[..]].concat();
    let told = Cli::try_parse_from(command).unwrap_err().to_string();
    assert!(
        told.contains("boot.example:4001") && told.contains("--bootstrap"),
        "{told}"
    );

    let error = desk.run(&with("/ip4/127.0.0.1/tcp/1")).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Caller);
    let told = error.to_string();
    assert!(
        told.contains("/ip4/127.0.0.1/tcp/1 must end with /p2p/"),
        "{told}"
    );

    let peer = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let error = desk.run(&with(peer)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Environment);
    let told = error.to_string();
    assert!(told.contains(peer) && told.contains("refused"), "{told}");
    // Nothing was opened.
    assert!(desk.chain.calls().is_empty());
}

#[test]
fn a_conversation_forgets_its_oldest_exchanges() {
    let ends = EngineEnds::load(&TinyFiles::new(1).open()).unwrap();
    let mut history = History::new(Some("be brief".into()), 120);
    for turn in 0..6 {
        history.say(Message::user(format!("question {turn}")));
        history.fit(&ends).unwrap();
        assert_eq!(history.messages()[0], Message::system("be brief"));
        assert_eq!(history.messages()[1].role, quipu_client::Role::User);
        assert_eq!(
            history.messages().last().unwrap().content,
            format!("question {turn}")
        );
        history.say(Message::assistant(format!("answer {turn}")));
    }
    assert!(history.messages().len() < 12, "nothing was forgotten");
    // One message alone stays, however long it is.
    history.reset();
    history.say(Message::user("x".repeat(500)));
    assert_eq!(history.fit(&ends).unwrap(), 0);
    history.take_back();
    assert_eq!(history.messages().len(), 1);
}
