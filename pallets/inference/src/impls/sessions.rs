//! Sessions: opening, vouchers, settlement, payout.

use super::deadlines::{postpone, Queue};
use crate::{
    fees,
    pallet::*,
    route,
    types::{Funding, Opening, Server, Servers},
    Due, Error, Event, HoldReason, Pallet, Session, Settlement,
};
use alloc::collections::BTreeSet;
use frame_support::{ensure, traits::Get};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    traits::{genesis, Grant, PayoutGate, Quotas, Roster},
    voucher_payload, Balance, Digest, SessionId, SignatureBytes, SubnetId, Voucher,
};
use sp_runtime::{
    traits::{Saturating, Zero},
    DispatchError, DispatchResult,
};

/// What a voucher that raises nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Equal {
    Accepted,
    Refused,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_open_session(
        consumer: T::AccountId,
        funding: Funding,
        opening: Opening<T>,
    ) -> DispatchResult {
        let Opening {
            subnet,
            session_key,
            caps,
            duration,
            seed_commitment,
            integrator,
        } = opening;
        ensure!(T::Roster::is_active(subnet), Error::<T>::SubnetNotActive);
        let blocks = T::Roster::blocks(subnet).ok_or(Error::<T>::SubnetNotActive)?;
        let context_length =
            T::Roster::context_length(subnet).ok_or(Error::<T>::SubnetNotActive)?;
        ensure!(!duration.is_zero(), Error::<T>::ZeroDuration);
        ensure!(
            duration <= T::MaxSessionDuration::get(),
            Error::<T>::DurationTooLong
        );
        let open = OpenSessions::<T>::get(&consumer);
        ensure!(
            open < T::MaxOpenSessions::get(),
            Error::<T>::TooManySessions
        );

        let (servers, deposit) = Self::take_servers(subnet, caps)?;
        let route_exists = route::exists(blocks, servers.iter().map(|server| server.span));
        ensure!(route_exists, Error::<T>::NoRoute);

        let session = NextSession::<T>::get();
        NextSession::<T>::put(session.checked_add(1).ok_or(Error::<T>::IdsExhausted)?);
        let grant = match funding {
            Funding::Own => None,
            Funding::Quota => Some(Self::take_quota(&consumer, subnet, &servers, deposit)?),
        };
        let payer = grant.as_ref().map_or(&consumer, |grant| &grant.payer);
        Self::hold(HoldReason::Session, payer, deposit)?;
        OpenSessions::<T>::insert(&consumer, open.saturating_add(1));
        servers
            .iter()
            .for_each(|server| Self::add_duty(server.node));

        let opened_at = Self::now();
        let expires_at = opened_at.saturating_add(duration);
        let closes_at = Self::later::<T::SettlementWindow>(expires_at);
        Queue::<T>::insert(closes_at, Due::Session(session));
        Sessions::<T>::insert(
            session,
            Session {
                subnet,
                consumer: consumer.clone(),
                grant,
                session_key,
                seed_commitment,
                integrator,
                context_length,
                opened_at,
                expires_at,
                settlement: None,
                closes_at,
                closed: false,
                is_sound: true,
                due: closes_at,
                held: deposit,
                job: None,
                servers,
            },
        );
        Self::deposit_event(Event::SessionOpened {
            session,
            consumer,
            subnet,
            deposit,
            expires_at,
        });
        Ok(())
    }

    /// Takes the deposit of the consumer's quota, which pays no more than the highest price.
    fn take_quota(
        consumer: &T::AccountId,
        subnet: SubnetId,
        servers: &Servers<T>,
        deposit: Balance,
    ) -> Result<Grant<T::AccountId>, DispatchError> {
        let parameters = T::Roster::block_parameters(subnet).ok_or(Error::<T>::SubnetNotActive)?;
        let most = T::Quotas::highest_price(parameters);
        let is_cheap = |server: &Server| server.price <= most;
        ensure!(servers.iter().all(is_cheap), Error::<T>::PriceAboveQuota);
        T::Quotas::take(consumer, deposit)
    }

    /// The named servers with their seats of this moment, and the sum of their caps.
    fn take_servers(subnet: SubnetId, caps: Caps<T>) -> Result<(Servers<T>, Balance), Error<T>> {
        let mut seen = BTreeSet::new();
        let mut deposit: Balance = 0;
        let mut servers = Servers::<T>::new();
        for (node, cap) in caps {
            ensure!(seen.insert(node), Error::<T>::DuplicateServer);
            let (home, seat) = T::Roster::seat(node).ok_or(Error::<T>::NotSeated)?;
            ensure!(home == subnet, Error::<T>::NotSeated);
            deposit = deposit
                .checked_add(cap)
                .ok_or(Error::<T>::DepositOverflow)?;
            let server = Server {
                node,
                span: seat.span,
                price: seat.price,
                cap,
                positions: 0,
            };
            // As long as the caps, so within the same bound.
            servers.try_push(server).map_err(|_| Error::<T>::NoRoute)?;
        }
        Ok((servers, deposit))
    }

    pub(crate) fn do_settle(
        who: T::AccountId,
        id: SessionId,
        vouchers: Vouchers<T>,
        receipt_root: Digest,
    ) -> DispatchResult {
        let now = Self::now();
        let mut session = Sessions::<T>::get(id).ok_or(Error::<T>::UnknownSession)?;
        ensure!(session.consumer == who, Error::<T>::NotConsumer);
        ensure!(session.settlement.is_none(), Error::<T>::AlreadySettled);
        ensure!(now < session.expires_at, Error::<T>::SessionExpired);

        for (voucher, signature) in vouchers {
            Self::record_voucher(id, &mut session, voucher, signature, Equal::Accepted)?;
        }

        // Never later than it would have been without: settling prolongs nothing.
        let closes_at = Self::later::<T::SettlementWindow>(now).min(session.closes_at);
        session.settlement = Some(Settlement {
            receipt_root,
            at: now,
        });
        session.closes_at = closes_at;
        postpone::<T>(&mut session.due, closes_at, Due::Session(id));
        Sessions::<T>::insert(id, session);
        Self::deposit_event(Event::SessionSettled {
            session: id,
            receipt_root,
            closes_at,
        });
        Ok(())
    }

    pub(crate) fn do_redeem(
        id: SessionId,
        voucher: Voucher,
        signature: SignatureBytes,
    ) -> DispatchResult {
        let mut session = Sessions::<T>::get(id).ok_or(Error::<T>::UnknownSession)?;
        ensure!(Self::now() < session.closes_at, Error::<T>::WindowClosed);
        Self::record_voucher(id, &mut session, voucher, signature, Equal::Refused)?;
        Sessions::<T>::insert(id, session);
        Ok(())
    }

    /// Checks a voucher and raises the positions of its server in `session`, which the caller
    /// stores.
    fn record_voucher(
        id: SessionId,
        session: &mut Session<T>,
        voucher: Voucher,
        signature: SignatureBytes,
        equal: Equal,
    ) -> DispatchResult {
        ensure!(voucher.session == id, Error::<T>::VoucherForOtherSession);
        let key = session.session_key;
        let server = session
            .servers
            .iter_mut()
            .find(|server| server.node == voucher.node)
            .ok_or(Error::<T>::NotASessionServer)?;
        let payload = voucher_payload(&genesis::<T>(), &voucher);
        let valid = sp_io::crypto::sr25519_verify(&signature.into(), &payload, &key.into());
        ensure!(valid, Error::<T>::BadVoucherSignature);

        if voucher.positions == server.positions && equal == Equal::Accepted {
            return Ok(());
        }
        ensure!(
            voucher.positions > server.positions,
            Error::<T>::VoucherReplayed
        );
        ensure!(
            voucher.positions <= session.context_length,
            Error::<T>::PositionsExceedContext
        );
        let earned = server
            .price_of(voucher.positions)
            .ok_or(Error::<T>::CapExceeded)?;
        server.positions = voucher.positions;
        Self::deposit_event(Event::VoucherRecorded {
            session: id,
            node: voucher.node,
            positions: voucher.positions,
            earned,
        });
        Ok(())
    }

    /// Pays a session out and says how many servers it had.
    pub(crate) fn do_finalize(id: SessionId) -> Result<u32, Error<T>> {
        let now = Self::now();
        let session = Sessions::<T>::get(id).ok_or(Error::<T>::UnknownSession)?;
        ensure!(!session.closed, Error::<T>::AlreadyClosed);
        ensure!(now >= session.closes_at, Error::<T>::WindowOpen);
        ensure!(Self::is_released(id, &session), Error::<T>::PayoutWithheld);
        let servers = session.servers.len() as u32;
        Self::close_session(id, session, now);
        Ok(servers)
    }

    /// Does the gate let the session, whose window has closed, be paid out?
    fn is_released(id: SessionId, session: &Session<T>) -> bool {
        // As long as the queue did not come to it, the gate may not know that its window has closed.
        if session.due == session.closes_at {
            T::PayoutGate::ended(id);
        }
        T::PayoutGate::may_pay_out(id)
    }

    /// Pays every server what it earned, unless it forfeited that, gives the rest back, and keeps the
    /// record for a while. The caller has checked that it is time.
    fn close_session(id: SessionId, mut session: Session<T>, now: BlockNumberFor<T>) {
        let forfeits = T::PayoutGate::take_forfeits(id);
        let mut paid: Balance = 0;
        for server in &session.servers {
            Self::end_duty(server.node);
            let shares = fees::split(server.earned());
            if shares.server == 0 {
                continue;
            }
            let (node, amount, positions) = (server.node, shares.server, server.positions);
            if forfeits.contains(&node) {
                Self::deposit_event(Event::ServerForfeited {
                    session: id,
                    node,
                    amount,
                });
                continue;
            }
            match Self::pay_held(HoldReason::Session, session.payer(), node, amount) {
                Ok(to) => {
                    paid = paid.saturating_add(amount);
                    Self::deposit_event(Event::ServerPaid {
                        session: id,
                        node,
                        to,
                        amount,
                        positions,
                    });
                }
                Err(_) => {
                    Self::deposit_event(Event::ServerUnpaid {
                        session: id,
                        node,
                        amount,
                    });
                }
            }
        }
        OpenSessions::<T>::mutate_exists(&session.consumer, |count| {
            *count = count
                .and_then(|count| count.checked_sub(1))
                .filter(|count| *count > 0);
        });

        let item = Due::Session(id);
        let until = Self::later::<T::RecordRetention>(now);
        let rest = session.held.saturating_sub(paid);
        if let Some(grant) = &session.grant {
            T::Quotas::give_back(&session.consumer, grant.day, rest);
        }
        let refunded = match Self::release_held(HoldReason::Session, session.payer(), rest) {
            Ok(()) => rest,
            Err(_) => {
                let to = session.payer().clone();
                Self::deposit_event(Event::RefundPostponed {
                    item,
                    to,
                    amount: rest,
                    until,
                });
                0
            }
        };
        session.closed = true;
        session.is_sound = forfeits.is_empty();
        session.held = rest.saturating_sub(refunded);
        postpone::<T>(&mut session.due, until, item);
        Sessions::<T>::insert(id, session);
        Self::deposit_event(Event::SessionClosed {
            session: id,
            paid,
            refunded,
        });
    }

    /// What the queue does with a session that is due.
    pub(crate) fn work_off_session(id: SessionId, now: BlockNumberFor<T>) {
        let Some(mut session) = Sessions::<T>::get(id) else {
            return;
        };
        let item = Due::Session(id);
        if !session.closed {
            if Self::is_released(id, &session) {
                return Self::close_session(id, session, now);
            }
            let until = Self::later::<T::SettlementWindow>(now);
            postpone::<T>(&mut session.due, until, item);
            Sessions::<T>::insert(id, session);
            return Self::deposit_event(Event::PayoutPostponed { item, until });
        }
        let (to, amount) = (session.payer().clone(), session.held);
        if amount > 0 {
            if Self::release_held(HoldReason::Session, &to, amount).is_err() {
                let until = Self::later::<T::RecordRetention>(now);
                postpone::<T>(&mut session.due, until, item);
                Sessions::<T>::insert(id, session);
                return Self::deposit_event(Event::RefundPostponed {
                    item,
                    to,
                    amount,
                    until,
                });
            }
            Self::deposit_event(Event::LateRefund { item, to, amount });
        }
        Queue::<T>::remove(session.due, item);
        Sessions::<T>::remove(id);
    }
}
