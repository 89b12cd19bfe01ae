//! What the programs say when they are called wrongly: an error that says what to do, and an exit
//! status that is not 0.

use anyhow::Result;
use quipu_tests::localnet::Programs;
use std::process::Command;

/// Runs a program, which must fail, and gives what it says.
fn complaint(program: &std::path::Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    assert!(!output.status.success(), "{arguments:?} succeeded");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_node_refuses_an_unknown_chain_and_names_those_it_knows() -> Result<()> {
    let said = complaint(&Programs::find()?.node, &["--chain", "no-such-chain"])?;
    assert!(
        said.contains("no-such-chain") && said.contains("local-fast"),
        "{said}"
    );
    Ok(())
}

#[test]
fn the_worker_says_which_option_it_needs() -> Result<()> {
    let said = complaint(&Programs::find()?.worker, &["serve"])?;
    assert!(
        said.contains("--blocks") && said.contains("--memory"),
        "{said}"
    );
    Ok(())
}

#[test]
fn the_command_line_says_that_the_chain_is_down() -> Result<()> {
    // Port 1 is reserved and never listened on.
    let arguments = ["--chain", "ws://127.0.0.1:1", "subnet", "list"];
    let output = Command::new(Programs::find()?.cli)
        .args(arguments)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // May pass by itself.
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(
        said.contains("ws://127.0.0.1:1") && said.contains("Is a quipu-node running there"),
        "{said}"
    );
    Ok(())
}
