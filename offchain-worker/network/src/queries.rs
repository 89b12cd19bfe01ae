//! The DHT: records of others that are to be stored here, and our own queries.

use crate::{
    config::Role,
    driver::Driver,
    peers::Offence,
    records::{check_record, RecordError},
};
use libp2p::{
    kad::{
        self, store::RecordStore, GetClosestPeersError, GetClosestPeersOk, GetRecordOk,
        InboundRequest, PutRecordError, QueryId, QueryResult, Quorum, Record, RecordKey,
    },
    Multiaddr, PeerId,
};
use quipu_protocol::{limits::ANNOUNCEMENT_TTL, Announcement, SignedAnnouncement};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Who waits for what.
enum Waiting {
    Publish(oneshot::Sender<Result<usize, String>>),
    Find(mpsc::Sender<Vec<u8>>),
    Locate(PeerId, oneshot::Sender<Vec<Multiaddr>>),
}

/// Queries under way. Bounded by the handles, which wait for a permit before they ask.
#[derive(Default)]
pub(crate) struct Queries(HashMap<QueryId, Waiting>);

impl Driver {
    pub(crate) fn publish(
        &mut self,
        record: Record,
        reply: oneshot::Sender<Result<usize, String>>,
    ) {
        // All: the query must not end with the first peer that took the record.
        match self
            .swarm
            .behaviour_mut()
            .kad
            .put_record(record, Quorum::All)
        {
            Ok(id) => {
                self.queries.0.insert(id, Waiting::Publish(reply));
            }
            Err(error) => {
                let _ = reply.send(Err(error.to_string()));
            }
        }
    }

    pub(crate) fn find(&mut self, key: RecordKey, found: mpsc::Sender<Vec<u8>>) {
        let id = self.swarm.behaviour_mut().kad.get_record(key);
        self.queries.0.insert(id, Waiting::Find(found));
    }

    pub(crate) fn locate(&mut self, peer: PeerId, reply: oneshot::Sender<Vec<Multiaddr>>) {
        let id = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
        self.queries.0.insert(id, Waiting::Locate(peer, reply));
    }

    pub(crate) fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request:
                    InboundRequest::PutRecord {
                        source,
                        record: Some(record),
                        ..
                    },
            } => self.store(source, record),
            kad::Event::InboundRequest {
                request:
                    InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => {
                tracing::trace!(peer = %record.provider, "providers are not kept");
                self.warden.metrics.records_dropped("provider").inc();
            }
            kad::Event::OutboundQueryProgressed {
                id, result, step, ..
            } => {
                self.progressed(id, result, step.last);
            }
            _ => {}
        }
    }

    fn progressed(&mut self, id: QueryId, result: QueryResult, last: bool) {
        if let QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) = result {
            let Some(Waiting::Find(values)) = self.queries.0.get(&id) else {
                return;
            };
            if values.try_send(found.record.value).is_err() {
                // Nobody wants more.
                self.queries.0.remove(&id);
                if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                    query.finish();
                }
            }
            return;
        }
        if !last {
            return;
        }
        match (self.queries.0.remove(&id), result) {
            (Some(Waiting::Publish(reply)), QueryResult::PutRecord(result)) => {
                let _ = reply.send(Ok(match result {
                    Ok(_) => kad::K_VALUE.get(),
                    Err(
                        PutRecordError::QuorumFailed { success, .. }
                        | PutRecordError::Timeout { success, .. },
                    ) => success.len(),
                }));
            }
            (Some(Waiting::Locate(peer, reply)), QueryResult::GetClosestPeers(result)) => {
                let peers = match result {
                    Ok(GetClosestPeersOk { peers, .. }) => peers,
                    Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let found = peers.into_iter().find(|found| found.peer_id == peer);
                let _ = reply.send(found.map(|found| found.addrs).unwrap_or_default());
            }
            // A search's values end as its sender is dropped here.
            _ => {}
        }
    }

    /// Stores a peer's record if it is to be believed.
    fn store(&mut self, source: PeerId, mut record: Record) {
        if self.role == Role::Client {
            return;
        }
        let now = Instant::now();
        if !self.warden.book.take_frame(&source, now) {
            self.warden.metrics.records_dropped("flood").inc();
            self.warden.offend(&source, Offence::Flood);
            return;
        }
        let time = (self.clock)();
        let key = record.key.as_ref();
        let signed = match check_record(key, &record.value, &self.genesis, time, self.keys.as_ref())
        {
            Ok(signed) => signed,
            Err(error) => return self.dropped(source, error),
        };
        let said = &signed.announcement;
        let (made_at, digest) = (
            said.made_at,
            Announcement::key(&self.genesis, said.subnet, said.node),
        );
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let known = store.get(&record.key).and_then(|known| {
            SignedAnnouncement::read(&known.value, &digest, &self.genesis, time).ok()
        });
        if known.is_some_and(|known| known.announcement.made_at > made_at) {
            self.warden.metrics.records_dropped("older").inc();
            return;
        }
        // It is believed for so long after it was made, and not after it was sent again.
        let left = (made_at + ANNOUNCEMENT_TTL.as_secs()).saturating_sub(time);
        let until = now + Duration::from_secs(left).min(ANNOUNCEMENT_TTL);
        record.expires = Some(record.expires.map_or(until, |given| given.min(until)));
        match store.put(record) {
            Ok(()) => {
                self.warden.metrics.records_stored.inc();
            }
            Err(error) => {
                tracing::warn!(%error, "a record can't be stored");
                self.warden.metrics.records_dropped("full").inc();
            }
        }
    }

    fn dropped(&mut self, source: PeerId, error: RecordError) {
        tracing::debug!(peer = %source, %error, "record dropped");
        self.warden.metrics.records_dropped(error.label()).inc();
        if !error.is_excusable() {
            self.warden.offend(&source, Offence::Record);
        }
    }
}
