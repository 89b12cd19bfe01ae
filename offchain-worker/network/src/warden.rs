//! Holds peers to the limits on behalf of the streams: admits, counts, and has offenders banned.

use crate::{
    command::Command,
    metrics::NetworkMetrics,
    peers::{FrameRate, Offence, PeerBook, Unwelcome},
};
use libp2p::PeerId;
use quipu_worker_core::ports::PeerError;
use std::{future::Future, sync::Arc, time::Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Shared by the network's task, its handles and all streams.
#[derive(Debug)]
pub(crate) struct Warden {
    pub(crate) book: PeerBook,
    pub(crate) metrics: NetworkMetrics,
    /// To the network's task. Weak, so that streams don't keep it alive.
    commands: Option<mpsc::WeakSender<Command>>,
}

impl Warden {
    pub(crate) fn new(
        rate: FrameRate,
        metrics: NetworkMetrics,
        commands: Option<mpsc::WeakSender<Command>>,
    ) -> Arc<Self> {
        Arc::new(Warden {
            book: PeerBook::new(rate),
            metrics,
            commands,
        })
    }

    /// Counts an offence, and has the peer banned if it is one too many.
    pub(crate) fn offend(&self, peer: &PeerId, offence: Offence) {
        let Some(length) = self.book.offend(peer, offence, Instant::now()) else {
            return;
        };
        tracing::info!(%peer, ?offence, ?length, "banned");
        self.metrics.bans.inc();
        let Some(commands) = self.commands.as_ref().and_then(mpsc::WeakSender::upgrade) else {
            return;
        };
        if commands
            .try_send(Command::Disconnect { peer: *peer })
            .is_err()
        {
            // The book refuses the peer's streams and frames all the same.
            tracing::debug!(%peer, "the command queue is full; the banned peer stays connected");
        }
    }

    /// Admits one more stream of a peer that it opened to us. `cut` is the end of its connection.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: PeerId,
        cut: CancellationToken,
    ) -> Result<StreamSlot, Unwelcome> {
        self.book.stream_began(&peer, Instant::now())?;
        Ok(self.slot(peer, cut, true))
    }

    /// A place for a stream that we opened: it counts in the metrics alone.
    pub(crate) fn ours(self: &Arc<Self>, peer: PeerId, cut: CancellationToken) -> StreamSlot {
        self.slot(peer, cut, false)
    }

    fn slot(self: &Arc<Self>, peer: PeerId, cut: CancellationToken, counted: bool) -> StreamSlot {
        self.metrics.streams.inc();
        let warden = self.clone();
        StreamSlot {
            peer,
            warden,
            cut,
            counted,
        }
    }
}

/// The place of one open stream. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    pub(crate) peer: PeerId,
    pub(crate) warden: Arc<Warden>,
    /// The end of the stream's connection.
    cut: CancellationToken,
    counted: bool,
}

impl StreamSlot {
    /// May the peer send one more frame now?
    pub(crate) fn take_frame(&self) -> bool {
        self.warden.book.take_frame(&self.peer, Instant::now())
    }

    /// Does something with the stream while its connection lasts. As cancel-safe as `work` is.
    pub(crate) async fn while_connected<T>(
        &self,
        work: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.cut.cancelled() => {
                Err(PeerError::Unreachable("the connection was closed".into()))
            }
        }
    }

    pub(crate) fn offend(&self, offence: Offence) {
        self.warden.offend(&self.peer, offence);
    }

    pub(crate) fn metrics(&self) -> &NetworkMetrics {
        &self.warden.metrics
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.warden.metrics.streams.dec();
        if self.counted {
            self.warden.book.stream_ended(&self.peer);
        }
    }
}
