//! Who may use the cache, how much of it, and until when.

use quipu_primitives::SessionId;
use quipu_protocol::{Refusal, RefusalCode};
use std::{collections::BTreeMap, time::Duration};

/// Why a sequence is not admitted. Another server may have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The cache has no room for so many positions now.
    #[error("no room for {asked} positions now; {free} are free")]
    Positions {
        /// Asked for.
        asked: u32,
        /// Not reserved by others.
        free: u32,
    },
    /// As many sessions run as may.
    #[error("{0} sessions run already")]
    Sessions(usize),
    /// The server takes nothing new.
    #[error("the server is leaving")]
    Draining,
}

impl From<AdmitError> for Refusal {
    fn from(error: AdmitError) -> Self {
        let code = match error {
            AdmitError::Draining => RefusalCode::Draining,
            _ => RefusalCode::Busy,
        };
        Refusal::new(code, format!("{error}; try another server"))
    }
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    positions: u32,
    until: Duration,
}

/// The book of a cache: reservations never pass its size, and a reservation that nobody uses ends.
/// Nobody queues here: what does not fit is refused at once.
#[derive(Debug)]
pub struct Leases {
    total: u32,
    most: usize,
    term: Duration,
    draining: bool,
    held: BTreeMap<SessionId, Lease>,
}

impl Leases {
    /// A book of a cache for `total` positions of at most `most` sessions, each kept for `term`
    /// after its last use.
    pub fn new(total: u32, most: usize, term: Duration) -> Self {
        Leases {
            total,
            most,
            term,
            draining: false,
            held: BTreeMap::new(),
        }
    }

    /// Positions that are not reserved.
    pub fn free(&self) -> u32 {
        let reserved: u64 = self
            .held
            .values()
            .map(|lease| u64::from(lease.positions))
            .sum();
        u64::from(self.total).saturating_sub(reserved) as u32
    }

    /// Sessions with a reservation.
    pub fn sessions(&self) -> usize {
        self.held.len()
    }

    /// Reserves `positions` for a session, in place of what it had.
    pub fn admit(
        &mut self,
        session: SessionId,
        positions: u32,
        now: Duration,
    ) -> Result<(), AdmitError> {
        if self.draining {
            return Err(AdmitError::Draining);
        }
        let own = self.held.get(&session).map(|lease| lease.positions);
        let free = self.free().saturating_add(own.unwrap_or(0));
        if positions > free {
            return Err(AdmitError::Positions {
                asked: positions,
                free,
            });
        }
        if own.is_none() && self.held.len() >= self.most {
            return Err(AdmitError::Sessions(self.most));
        }
        self.held.insert(
            session,
            Lease {
                positions,
                until: now.saturating_add(self.term),
            },
        );
        Ok(())
    }

    /// The session was used: its term begins anew. False if it has no reservation.
    pub fn renew(&mut self, session: SessionId, now: Duration) -> bool {
        let until = now.saturating_add(self.term);
        self.held
            .get_mut(&session)
            .map(|lease| lease.until = until)
            .is_some()
    }

    /// Gives a reservation back. Unknown ones are ignored.
    pub fn release(&mut self, session: SessionId) {
        self.held.remove(&session);
    }

    /// Sessions whose term is over, in order of their ids. They keep their reservation until
    /// [`Leases::release`], which the caller does once the cache itself is free.
    pub fn expired(&self, now: Duration) -> Vec<SessionId> {
        self.held
            .iter()
            .filter(|(_, lease)| lease.until <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Admits nothing from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Does it admit nothing any more?
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn leases() -> Leases {
        Leases::new(100, 2, 10 * SECOND)
    }

    #[test]
    fn a_full_cache_refuses_at_once_and_names_what_is_free() {
        let mut leases = leases();
        leases.admit(1, 60, SECOND).unwrap();
        let refused = leases.admit(2, 41, SECOND);
        assert_eq!(
            refused,
            Err(AdmitError::Positions {
                asked: 41,
                free: 40
            })
        );
        leases.admit(2, 40, SECOND).unwrap();
        assert_eq!(leases.admit(3, 0, SECOND), Err(AdmitError::Sessions(2)));
        assert_eq!(leases.free(), 0);
        let refusal: Refusal = AdmitError::Sessions(2).into();
        assert_eq!(refusal.code, RefusalCode::Busy);
    }

    #[test]
    fn a_session_may_change_its_own_reservation() {
        let mut leases = leases();
        leases.admit(1, 60, SECOND).unwrap();
        leases.admit(1, 100, SECOND).unwrap();
        assert_eq!(leases.free(), 0);
        assert!(leases.admit(1, 101, SECOND).is_err());
        assert_eq!(leases.sessions(), 1);
    }

    #[test]
    fn a_lease_ends_unless_it_is_renewed() {
        let mut leases = leases();
        leases.admit(1, 50, SECOND).unwrap();
        leases.admit(2, 50, SECOND).unwrap();
        assert!(leases.renew(2, 5 * SECOND));
        assert!(leases.expired(10 * SECOND).is_empty());
        assert_eq!(leases.expired(11 * SECOND), [1]);
        // It still counts until its memory is free.
        assert_eq!(leases.free(), 0);
        leases.release(1);
        assert_eq!(leases.free(), 50);
        assert!(!leases.renew(1, 12 * SECOND));
    }

    #[test]
    fn a_draining_cache_admits_nothing() {
        let mut leases = leases();
        leases.admit(1, 50, SECOND).unwrap();
        leases.drain();
        assert_eq!(leases.admit(1, 10, SECOND), Err(AdmitError::Draining));
        assert!(leases.renew(1, SECOND), "what runs may go on");
        let refusal: Refusal = AdmitError::Draining.into();
        assert_eq!(refusal.code, RefusalCode::Draining);
    }
}
