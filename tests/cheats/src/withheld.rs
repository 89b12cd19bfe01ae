//! A server that shows nobody what it signed for.

use async_trait::async_trait;
use quipu_protocol::{Activations, Refusal, RefusalCode, Request, Response};
use quipu_worker_core::ports::{Incoming, PeerError, ServerStream};

/// Serves sessions as ever; whoever wants to look at them is told to come back later.
pub struct Withholding(pub Box<dyn Incoming>);

#[async_trait]
impl Incoming for Withholding {
    async fn next(&mut self) -> Option<Box<dyn ServerStream>> {
        let inner = self.0.next().await?;
        Some(Box::new(Stream { inner }))
    }
}

struct Stream {
    inner: Box<dyn ServerStream>,
}

#[async_trait]
impl ServerStream for Stream {
    fn peer(&self) -> &[u8] {
        self.inner.peer()
    }

    async fn receive(&mut self) -> Result<(Request, Option<Activations>), PeerError> {
        let received = self.inner.receive().await?;
        if let (Request::Fetch(_), _) = received {
            let refusal = Refusal::new(RefusalCode::Busy, "later, perhaps");
            self.inner.send(Response::Refused(refusal), None).await?;
            return Err(PeerError::Closed);
        }
        Ok(received)
    }

    async fn send(
        &mut self,
        response: Response,
        payload: Option<Activations>,
    ) -> Result<(), PeerError> {
        self.inner.send(response, payload).await
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}
