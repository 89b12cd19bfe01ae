//! The node from outside: a chain is the same in every form of its specification, and goes on where
//! it was.

use anyhow::{Context, Result};
use futures::StreamExt;
use quipu_chain::{connect, ConnectOptions, SubxtChain};
use quipu_tests::{
    localnet::{start_validator, write_specification, Programs},
    process::Process,
};
use quipu_worker_core::ports::Chain;
use std::{collections::BTreeSet, path::Path, time::Duration};

/// How long a node may take to end.
const END: Duration = Duration::from_secs(30);

/// Alice on a chain, alone.
async fn start(folder: &Path, chain: &str) -> Result<(Process, SubxtChain)> {
    std::fs::create_dir_all(folder)?;
    let programs = Programs::find()?;
    let (node, url) = start_validator(&programs, folder, chain, "alice", 1, None).await?;
    let chain = connect(&url, ConnectOptions::default()).await?;
    Ok((node, chain))
}

#[tokio::test]
async fn every_form_of_a_specification_begins_the_same_chain() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let programs = Programs::find()?;
    let plain = folder.path().join("plain.json");
    let raw = folder.path().join("raw.json");
    write_specification(&programs, "dev-fast", false, &plain).await?;
    // From the plain form, which must read back as well.
    write_specification(&programs, &plain.display().to_string(), true, &raw).await?;
    let forms = [
        ("name", "dev-fast".to_owned()),
        ("plain", plain.display().to_string()),
        ("raw", raw.display().to_string()),
    ];
    let mut genesis = BTreeSet::new();
    for (form, chain) in forms {
        let (mut node, chain) = start(&folder.path().join(form), &chain).await?;
        genesis.insert(chain.genesis());
        node.terminate(END).await?;
    }
    assert_eq!(genesis.len(), 1, "the forms differ: {genesis:?}");
    let (mut node, other) = start(&folder.path().join("other"), "local-fast").await?;
    assert!(
        !genesis.contains(&other.genesis()),
        "another preset, and the same chain"
    );
    node.terminate(END).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_that_starts_again_goes_on_where_it_was() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut node, chain) = start(folder.path(), "dev-fast").await?;
    let genesis = chain.genesis();
    let mut events = chain.events().await?;
    while chain.finalized().await? < 2 {
        events.next().await.context("the chain's events ended")?;
    }
    let block = chain.finalized().await?;
    drop((events, chain));
    node.terminate(END).await?;

    let (mut node, chain) = start(folder.path(), "dev-fast").await?;
    assert_eq!(chain.genesis(), genesis);
    assert!(chain.finalized().await? >= block, "blocks are gone");
    let mut events = chain.events().await?;
    while chain.finalized().await? <= block {
        events.next().await.context("the chain's events ended")?;
    }
    node.terminate(END).await?;
    Ok(())
}
