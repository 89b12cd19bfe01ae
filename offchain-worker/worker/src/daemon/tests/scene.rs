//! The usual beginning of a story.

use super::{client::TestClient, rig::*};
use quipu_primitives::SessionId;

/// The subnet; a server that serves, beside a neighbour with a seat but no worker; a session of
/// both; and a client that has opened it at the server.
pub type Scene = (Subnet, Worker, SessionId, TestClient);

/// Sets a [`Scene`]: the first server, beside the second, and a session for a thousand blocks,
/// unless it is told otherwise.
pub struct Setting {
    server: Node,
    neighbour: Node,
    setup: Setup,
    duration: u32,
}

/// The scene as it is usually set.
pub async fn scene() -> Scene {
    Setting::usual().scene().await
}

impl Setting {
    pub fn usual() -> Self {
        Setting {
            server: FIRST,
            neighbour: SECOND,
            setup: Setup::default(),
            duration: 1_000,
        }
    }

    /// The second server serves, beside the first.
    pub fn behind(self) -> Self {
        Setting {
            server: SECOND,
            neighbour: FIRST,
            ..self
        }
    }

    /// The server is set up in this way.
    pub fn with(self, setup: Setup) -> Self {
        Setting { setup, ..self }
    }

    /// The session expires after so many blocks.
    pub fn lasting(self, duration: u32) -> Self {
        Setting { duration, ..self }
    }

    /// The server without a session.
    pub async fn server(self) -> (Subnet, Worker) {
        let subnet = Subnet::new();
        subnet.seat(self.neighbour);
        let worker = Worker::start_with(&subnet, self.server, self.setup).await;
        (subnet, worker)
    }

    /// Everything.
    pub async fn scene(self) -> Scene {
        let duration = self.duration;
        let (subnet, worker) = self.server().await;
        let session = subnet.open_session(duration);
        let (client, _) = worker.open(session, 0).await;
        (subnet, worker, session, client)
    }
}
