//! From the runtime's events to those that workers know.

use crate::{
    adapter::SubxtChain,
    error::{chain_error, RETRY},
    runtime::api,
};
use futures::stream::{self, BoxStream, StreamExt};
use quipu_worker_core::ports::{ChainError, ChainEvent};
use std::collections::VecDeque;
use subxt::{events::EventDetails, PolkadotConfig};
use tracing::warn;

/// What this event means to a worker, if anything.
pub(crate) fn known(
    event: &EventDetails<PolkadotConfig>,
) -> Result<Option<ChainEvent>, ChainError> {
    use api::{inference::events as inference, subnets::events as subnets};
    macro_rules! map {
        ($($kind:ty => |$e:ident| $to:expr),* $(,)?) => {
            $(if let Some($e) = event.as_event::<$kind>().map_err(chain_error)? { return Ok(Some($to)); })*
        };
    }
    map! {
        subnets::SubnetRegistered => |e| ChainEvent::SubnetRegistered { subnet: e.subnet },
        subnets::NodeRegistered => |e| ChainEvent::NodeRegistered { node: e.node, subnet: e.subnet },
        subnets::NodeJoined => |e| ChainEvent::RosterChanged { subnet: e.subnet },
        subnets::NodeLeft => |e| ChainEvent::RosterChanged { subnet: e.subnet },
        subnets::NodeRemoved => |e| ChainEvent::RosterChanged { subnet: e.subnet },
        subnets::PriceChanged => |e| ChainEvent::NodeChanged { node: e.node },
        subnets::HotkeyChanged => |e| ChainEvent::NodeChanged { node: e.node },
        subnets::ColdkeyChanged => |e| ChainEvent::NodeChanged { node: e.node },
        subnets::PeerIdChanged => |e| ChainEvent::NodeChanged { node: e.node },
        inference::SessionOpened => |e| ChainEvent::SessionOpened {
            session: e.session,
            subnet: e.subnet,
        },
        inference::SessionSettled => |e| ChainEvent::SessionSettling { session: e.session },
        inference::ServerPaid => |e| ChainEvent::ServerPaid {
            session: e.session,
            node: e.node,
            amount: e.amount,
        },
        inference::SessionClosed => |e| ChainEvent::SessionClosed {
            session: e.session,
            paid: e.paid,
            refunded: e.refunded,
        },
        inference::JobRequested => |e| ChainEvent::JobRequested {
            job: e.job,
            subnet: e.subnet,
            node: e.node,
        },
        inference::JobDone => |e| ChainEvent::JobDone { job: e.job },
        inference::JobRefunded => |e| ChainEvent::JobRefunded { job: e.job },
    }
    Ok(None)
}

/// Where the walk over finalised blocks stands.
struct Walk {
    chain: SubxtChain,
    /// The last block whose events were given.
    last: u32,
    /// Finalised heads as they come; `None` before the first subscription and after a break.
    heads: Option<BoxStream<'static, u32>>,
    /// Events of the block that is being given.
    ready: VecDeque<ChainEvent>,
    /// The highest block known to be final.
    head: u32,
}

impl Walk {
    /// The next event; waits for the next block when all are given.
    async fn next(&mut self) -> ChainEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if let Err(error) = self.advance().await {
                warn!(%error, block = self.last + 1, "reading finalised events; trying again");
                self.heads = None;
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Reads the next block's events, or waits until there is a next block.
    async fn advance(&mut self) -> Result<(), ChainError> {
        if self.head <= self.last {
            let heads = match &mut self.heads {
                Some(heads) => heads,
                None => self.heads.insert(subscribe(&self.chain).await?),
            };
            match heads.next().await {
                Some(head) => self.head = self.head.max(head),
                None => self.heads = None,
            }
            return Ok(());
        }
        let number = self.last + 1;
        let hash = self.chain.block_hash(number).await?;
        self.ready = self.chain.events_of(hash).await?.into();
        self.ready.push_back(ChainEvent::Finalized {
            number,
            hash: hash.0,
        });
        self.last = number;
        Ok(())
    }
}

/// Numbers of finalised blocks, from the latest on. Ends when the connection breaks.
async fn subscribe(chain: &SubxtChain) -> Result<BoxStream<'static, u32>, ChainError> {
    let heads = chain
        .client
        .blocks()
        .subscribe_finalized()
        .await
        .map_err(chain_error)?;
    let now = chain
        .client
        .blocks()
        .at_latest()
        .await
        .map_err(chain_error)?
        .number();
    let later = heads
        .take_while(|block| futures::future::ready(block.is_ok()))
        .filter_map(|block| futures::future::ready(block.ok().map(|block| block.number())));
    Ok(stream::once(futures::future::ready(now))
        .chain(later)
        .boxed())
}

/// Events of finalised blocks after `from`.
pub(crate) fn finalized(chain: SubxtChain, from: u32) -> BoxStream<'static, ChainEvent> {
    let walk = Walk {
        chain,
        last: from,
        heads: None,
        ready: VecDeque::new(),
        head: from,
    };
    stream::unfold(walk, |mut walk| async move {
        let event = walk.next().await;
        Some((event, walk))
    })
    .boxed()
}

impl SubxtChain {
    /// Hash of the block of this number in the best chain.
    ///
    /// Errors: `Unreachable` for a block that the node does not have yet.
    pub async fn block_hash(&self, number: u32) -> Result<subxt::utils::H256, ChainError> {
        self.rpc
            .chain_get_block_hash(Some(number.into()))
            .await
            .map_err(|error| chain_error(error.into()))?
            .ok_or_else(|| ChainError::Unreachable(format!("the node has no block {number} yet")))
    }

    /// What workers know of a block's events.
    async fn events_of(&self, hash: subxt::utils::H256) -> Result<Vec<ChainEvent>, ChainError> {
        let events = self.client.events().at(hash).await.map_err(chain_error)?;
        let mut out = Vec::new();
        for event in events.iter() {
            let event = event.map_err(chain_error)?;
            out.extend(known(&event)?);
        }
        Ok(out)
    }
}
