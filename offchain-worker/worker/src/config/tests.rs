use super::*;
use clap::Parser;
use std::io::Write;

fn serve(args: &[&str]) -> ServeArgs {
    let args = ["quipu-worker", "serve"].iter().chain(args);
    match Cli::try_parse_from(args).unwrap().command {
        Command::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

const WHOLE: [&str; 14] = [
    "--chain",
    "ws://127.0.0.1:9944",
    "--subnet",
    "1",
    "--blocks",
    "0:10",
    "--model",
    ".",
    "--hotkey",
    "//Alice",
    "--price",
    "5",
    "--base-path",
    "base",
];

/// The whole command line without one option.
fn without(option: &str) -> Vec<&'static str> {
    let pairs = WHOLE.chunks(2).filter(|pair| pair[0] != option);
    pairs.flatten().copied().collect()
}

fn error(args: &[&str]) -> String {
    serve(args)
        .with_file()
        .and_then(ServeArgs::validate)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_whole_command_line_is_valid() {
    let config = serve(&WHOLE).validate().unwrap();
    assert_eq!(config.blocks, Blocks::Span(Span { start: 0, end: 10 }));
    assert_eq!(config.kv_positions, DEFAULT_KV_POSITIONS);
    assert_eq!(config.audit_space, DEFAULT_AUDIT_SPACE);
    assert!(config.node.threads >= 1);
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.look_every, Duration::from_secs(60));
    assert_eq!(config.device, Device::Cpu);
    assert_eq!(config.node.peer_key(), Path::new("base/peer.key"));
    assert!(!config.leave_on_exit);
}

#[test]
fn each_missing_option_is_named() {
    for option in [
        "--chain",
        "--subnet",
        "--blocks",
        "--model",
        "--price",
        "--base-path",
    ] {
        let error = error(&without(option));
        assert!(error.starts_with(option), "{option}: {error}");
    }
    if std::env::var_os("QUIPU_HOTKEY").is_none() {
        assert!(error(&without("--hotkey")).starts_with("--hotkey-seed-file"));
    }
}

#[test]
fn values_that_can_not_be_used_are_named() {
    let with = |more: &[&'static str]| error(&[&WHOLE[..], more].concat());
    assert!(with(&["--memory", "4GiB"]).contains("--blocks and --memory exclude"));
    assert!(with(&["--hotkey-seed-file", "x"]).contains("exclude each other"));
    assert!(with(&["--listen", "127.0.0.1:80"]).contains("--listen 127.0.0.1:80 is no address"));
    let nobody = with(&["--bootstrap", "/ip4/127.0.0.1/tcp/4001"]);
    assert!(
        nobody.contains("--bootstrap /ip4/127.0.0.1/tcp/4001 must end with /p2p/"),
        "{nobody}"
    );
    assert!(
        with(&["--bootstrap", "boot.example"]).contains("--bootstrap boot.example is no address")
    );
    assert!(with(&["--kv-positions", "0"]).contains("--kv-positions"));
    assert!(with(&["--audit-space", "0"]).contains("--audit-space"));
    if !cfg!(feature = "cuda") {
        let error = with(&["--device", "cuda"]);
        assert!(error.contains("built with `--features cuda`"), "{error}");
    }
    assert!(with(&["--look-every", "0"]).contains("--look-every"));
    assert!(with(&["--threads", "0"]).contains("--threads"));
    assert!(with(&["--config", "no/such/file"]).contains("no/such/file can't be read"));
    let other = |option, value| error(&[without(option), vec![option, value]].concat());
    assert!(other("--subnet", "0").contains("validators"));
    assert!(other("--model", "no/such/model").contains("no model at no/such/model"));
    let secret = other("--hotkey", "my secret is hunter2");
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn the_command_line_goes_before_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "chain = \"ws://file:1\"\nmemory = \"2GiB\"\nprice = 9\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n\
         kv-positions = 77\naudit-space = \"3GiB\"\nlook-every = 5\ndevice = \"cpu\"\nthreads = 3\nleave-on-exit = true"
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let args = [&without("--chain")[..], &["--config", path]].concat();
    let config = serve(&args).with_file().unwrap().validate().unwrap();
    assert_eq!(config.node.chain, "ws://file:1");
    // `--blocks` on the command line stands for the file's `memory` too.
    assert_eq!(config.blocks, Blocks::Span(Span { start: 0, end: 10 }));
    assert_eq!((config.price, config.kv_positions), (5, 77));
    assert_eq!(config.audit_space, 3 << 30);
    assert_eq!(config.node.threads, 3);
    assert_eq!(config.look_every, Duration::from_secs(5));
    assert_eq!(config.listen.len(), 1);
    assert!(config.leave_on_exit);
    let args = [&without("--blocks")[..], &["--config", path]].concat();
    let config = serve(&args).with_file().unwrap().validate().unwrap();
    assert_eq!(config.blocks, Blocks::Fit { memory: 2 << 30 });
}

fn audit(args: &[&str]) -> Result<NodeConfig, ConfigError> {
    let args = ["quipu-worker", "audit"].iter().chain(args);
    match Cli::try_parse_from(args).unwrap().command {
        Command::Audit(args) => args.validate(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_auditor_needs_a_model_and_a_way_into_the_swarm_and_nothing_to_serve() {
    let id = "12D3KooWMywP3Tjy2ejAVHerJT1jafU9ZVvEZRBvnwS5bjBMBFGp";
    let peer = format!("/ip4/127.0.0.1/tcp/1/p2p/{id}");
    let whole = [
        ["--chain", "ws://127.0.0.1:9944"],
        ["--subnet", "1"],
        ["--model", "."],
        ["--hotkey", "//Alice"],
        ["--base-path", "base"],
        ["--bootstrap", &peer],
    ];
    let config = audit(&whole.concat()).unwrap();
    assert_eq!((config.subnet, config.bootstrap.len()), (1, 1));
    assert!(config.threads >= 1);
    for missing in 0..whole.len() {
        let mut rest = whole.to_vec();
        let [option, _] = rest.remove(missing);
        let error = audit(&rest.concat()).unwrap_err().to_string();
        let named = error.contains(&format!("{option} "))
            || option == "--hotkey" && error.contains("--hotkey-seed-file");
        assert!(named, "{option}: {error}");
    }
    // A file of a worker that serves will do.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("memory = \"2GiB\"\nprice = 9\nthreads = 3\nbootstrap = [\"{peer}\"]");
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let args = [&whole[..5].concat()[..], &["--config", path]].concat();
    assert_eq!(audit(&args).unwrap().threads, 3);
    let zero = [&whole.concat()[..], &["--threads", "0"]].concat();
    assert!(audit(&zero).unwrap_err().to_string().contains("--threads"));
}

#[test]
fn files_with_unknown_options_or_secrets_are_refused() {
    for text in [
        "blokcs = \"0:1\"",
        "hotkey = \"//Alice\"",
        "blocks = \"3:1\"",
        "device = \"gpu\"",
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let error = error(&[&WHOLE[..], &["--config", path]].concat());
        assert!(error.contains("can't be used"), "{text}: {error}");
    }
}

#[test]
fn sizes_are_read_as_people_write_them() {
    let size = |text: &str| text.parse::<Size>().map(|size| size.0);
    assert_eq!(size("1000"), Ok(1000));
    assert_eq!(size("512MiB"), Ok(512 << 20));
    assert_eq!(size("4 g"), Ok(4 << 30));
    for bad in ["", "GiB", "1.5GiB", "4 parsecs", "99999999TiB", "-1"] {
        assert!(size(bad).unwrap_err().contains("no size"), "{bad}");
    }
}
