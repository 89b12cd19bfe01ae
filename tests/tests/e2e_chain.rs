//! The chain's endpoint drops in the middle: the adapter reconnects, nothing is sent twice, and no
//! event is lost or given twice. A real node behind a proxy that cuts connections.

use anyhow::{Context, Result};
use futures::{future::try_join_all, StreamExt};
use quipu_chain::{connect, ConnectOptions, Keypair, SubxtChain};
use quipu_primitives::money::QPU;
use quipu_tests::localnet::{Localnet, Programs};
use quipu_worker_core::{
    ports::{Call, Chain, ChainEvent},
    Signer,
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections, and cuts all of them each time its switch changes.
struct Proxy {
    url: String,
    cuts: watch::Sender<u32>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let (cuts, seen) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut seen = seen.clone();
                tokio::spawn(async move {
                    seen.mark_unchanged();
                    let Ok(mut to) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Ok(Proxy { url, cuts })
    }

    fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_loses_nothing_and_sends_nothing_twice() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let net = Localnet::start(Programs::find()?, folder.path(), 1).await?;
    let target = net
        .url
        .strip_prefix("ws://")
        .context("a WebSocket address")?
        .parse()?;
    let proxy = Proxy::start(target).await?;
    let chain = connect(&proxy.url, ConnectOptions::default()).await?;

    let payer = Keypair::from_uri("//Server6")?;
    let payee = Keypair::from_uri("//Nobody")?.public();
    let mut events = chain.events().await?;

    // Each transfer is another amount, so that the sum tells which of them took effect how often.
    let mut sum = 0;
    let mut last = 0;
    for round in 0..6u32 {
        let amount = QPU << round;
        sum += amount;
        let call = Call::Transfer { to: payee, amount };
        let submit = async {
            match round % 2 {
                0 => chain.submit(&payer, call).await,
                _ => chain.submit_final(&payer, call).await,
            }
        };
        // Cut at another moment in each round: at once, while it waits for its block, behind it.
        let cut = async {
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 300)).await;
            proxy.cut();
        };
        let (included, ()) = tokio::join!(submit, cut);
        last = included
            .with_context(|| format!("transfer {round}"))?
            .number;
        let finalized = chain.finalized().await?;
        assert!(round % 2 == 0 || finalized >= last, "{last} is not final");
    }
    // Asked past the proxy: what the chain really holds.
    assert_eq!(
        net.chain.free_balance(payee).await?,
        sum,
        "a transfer was lost or sent twice"
    );

    let mut seen: Option<u32> = None;
    let walk = async {
        while seen.is_none_or(|seen| seen < last) {
            if let ChainEvent::Finalized { number, .. } =
                events.next().await.context("the events ended")?
            {
                let due = seen.map_or(number, |seen| seen + 1);
                anyhow::ensure!(number == due, "block {number} came where {due} was due");
                seen = Some(number);
            }
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), walk)
        .await
        .context("events stopped")??;

    // What was under way when the connection broke is read again, and is what the node says itself.
    let (ledger, ()) = tokio::join!(chain.ledger_at(last), async { proxy.cut() });
    assert_eq!(ledger?, net.chain.ledger_at(last).await?);
    let (fees, ()) = tokio::join!(chain.fees_between(1, last), async { proxy.cut() });
    let fees = fees?;
    assert_eq!(fees, net.chain.fees_between(1, last).await?);
    let paid = fees.iter().filter(|fee| fee.who == payer.public());
    assert_eq!(paid.count(), 6, "each transfer is paid for once");

    many_extrinsics_of_one_account_share_a_block(&net, &chain, &proxy).await
}

/// Also when the connection breaks while all of them are on their way.
async fn many_extrinsics_of_one_account_share_a_block(
    net: &Localnet,
    chain: &SubxtChain,
    proxy: &Proxy,
) -> Result<()> {
    const AT_ONCE: u32 = 16;
    let payer = Keypair::from_uri("//Server5")?;
    for cut in [false, true] {
        let payee = Keypair::from_uri(&format!("//Nobody//{cut}"))?.public();
        let transfer = |nth: u32| {
            let amount = QPU << nth;
            chain.submit(&payer, Call::Transfer { to: payee, amount })
        };
        let (included, ()) = tokio::join!(try_join_all((0..AT_ONCE).map(transfer)), async {
            if cut {
                tokio::time::sleep(Duration::from_millis(50)).await;
                proxy.cut();
            }
        });
        let included = included?;
        let sum = QPU * ((1 << AT_ONCE) - 1);
        assert_eq!(net.chain.free_balance(payee).await?, sum, "cut: {cut}");
        let blocks: BTreeSet<u32> = included.iter().map(|included| included.number).collect();
        assert!(
            cut || blocks.len() < AT_ONCE as usize / 2,
            "each waited for the block of the one before: {blocks:?}"
        );
    }
    Ok(())
}
