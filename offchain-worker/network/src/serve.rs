//! The libp2p behaviour of serving streams.
//!
//! `libp2p-stream` does nearly the same, but hands accepted streams over through a queue of one and
//! silently drops what does not fit: of two clients that open streams at the same moment, one may
//! lose its stream. Here nothing accepted is lost, and what is refused is told so.

use libp2p::{
    core::{transport::PortUse, upgrade::UpgradeInfo, Endpoint},
    swarm::{
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
    InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream, StreamProtocol,
};
use quipu_protocol::{limits::OPEN_TIMEOUT, SERVE_PROTOCOL};
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{ready, Ready},
    task::{Context, Poll, Waker},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Accepted streams of one connection that wait for the swarm to take them. It takes one at each
/// poll, so that more than a few never wait; further ones are closed.
const ACCEPTED_QUEUE: usize = 64;

/// Why a peer to which we are connected gives us no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// It is no server.
    #[error("the peer serves nobody")]
    Unsupported,
    /// The connection broke, or the peer did not answer.
    #[error("the stream can't be opened: {0}")]
    Broken(String),
}

type Reply = oneshot::Sender<Result<Wire, OpenError>>;

/// A bare stream, and the end of its connection. When this end closes a connection, the muxer lets
/// those who read or write its streams wait for ever; they must watch for the cut beside it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    pub(crate) cut: CancellationToken,
}

/// A stream that a peer opened to us.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) peer: PeerId,
    pub(crate) wire: Wire,
}

/// Opens serving streams and, at a server, accepts them.
pub(crate) struct Behaviour {
    accept: bool,
    events: VecDeque<ToSwarm<Accepted, Reply>>,
}

impl Behaviour {
    pub(crate) fn new(accept: bool) -> Self {
        Behaviour {
            accept,
            events: VecDeque::new(),
        }
    }

    /// Opens a stream on any connection to `peer`. Without one, or when it breaks, the reply is
    /// dropped.
    pub(crate) fn open(&mut self, peer: PeerId, reply: Reply) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::Any,
            event: reply,
        });
    }

    fn handler(&self) -> Handler {
        Handler {
            accept: self.accept,
            requests: VecDeque::new(),
            accepted: VecDeque::new(),
            cut: CancellationToken::new(),
            waker: None,
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Accepted;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        wire: THandlerOutEvent<Self>,
    ) {
        self.events
            .push_back(ToSwarm::GenerateEvent(Accepted { peer, wire }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Events come in only from the task that polls: it looks here afterwards.
        match self.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => Poll::Pending,
        }
    }
}

/// One connection's part.
pub(crate) struct Handler {
    accept: bool,
    requests: VecDeque<Reply>,
    accepted: VecDeque<Stream>,
    cut: CancellationToken,
    waker: Option<Waker>,
}

impl Handler {
    fn wire(&self, stream: Stream) -> Wire {
        Wire {
            stream,
            cut: self.cut.clone(),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Reply;
    type ToBehaviour = Wire;
    type InboundProtocol = Protocol;
    type OutboundProtocol = Protocol;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocol, ()> {
        SubstreamProtocol::new(Protocol(self.accept), ())
    }

    fn on_behaviour_event(&mut self, reply: Reply) {
        self.requests.push_back(reply);
        self.wake();
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Protocol, Reply, Wire>> {
        if let Some(stream) = self.accepted.pop_front() {
            let wire = self.wire(stream);
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(wire));
        }
        if let Some(reply) = self.requests.pop_front() {
            let protocol = SubstreamProtocol::new(Protocol(true), reply).with_timeout(OPEN_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Protocol, Protocol, (), Reply>) {
        match event {
            // What the queue does not hold is dropped, which closes it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) if self.accepted.len() < ACCEPTED_QUEUE => {
                self.accepted.push_back(protocol);
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                // Where nobody waits any more, the stream is dropped, which closes it.
                let _ = info.send(Ok(self.wire(protocol)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Timeout => OpenError::Broken("no answer in time".into()),
                    StreamUpgradeError::Io(error) => OpenError::Broken(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.send(Err(error));
            }
            _ => {}
        }
    }
}

/// Negotiates the protocol, or none, and gives the bare stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol(bool);

impl UpgradeInfo for Protocol {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0
            .then_some(StreamProtocol::new(SERVE_PROTOCOL))
            .into_iter()
    }
}

impl InboundUpgrade<Stream> for Protocol {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Protocol {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
