//! From an `Open` and the chain's record to terms that can be served.

use super::{Identity, Now};
use crate::keys::verify;
use quipu_primitives::{
    session::open_payload,
    views::{SessionInfo, SessionStatus},
    AccountBytes, Balance, SessionId,
};
use quipu_protocol::{Open, Refusal, RefusalCode, VERSION};

/// An `Open` that may be served: every field was checked against the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidOpen {
    /// The session.
    pub session: SessionId,
    /// The client's attempt.
    pub epoch: u32,
    /// Positions to reserve.
    pub positions: u32,
    /// Positions for which the client holds our receipts.
    pub receipts: u32,
    /// The key that signs vouchers.
    pub session_key: AccountBytes,
    /// Most that we may earn.
    pub cap: Balance,
    /// Our price per position and block when the session opened.
    pub price: Balance,
    /// The block at which the session expires.
    pub deadline: u32,
}

/// Checks an `Open` that `client` (multihash bytes of its proven peer id) sent. `session` is what
/// the chain says of it at its best block.
pub fn check(
    open: &Open,
    session: Option<&SessionInfo<AccountBytes>>,
    me: &Identity,
    client: &[u8],
    now: Now,
) -> Result<ValidOpen, Refusal> {
    let refuse = |code, message: String| Err(Refusal::new(code, message));
    if open.version != VERSION {
        let message = format!("this server speaks version {VERSION}, not {}", open.version);
        return refuse(RefusalCode::Version, message);
    }
    if open.node != me.node {
        return refuse(RefusalCode::WrongNode, format!("this is node {}", me.node));
    }
    if open.dtype != me.dtype {
        let message = format!("this server takes activations as {:?}", me.dtype);
        return refuse(RefusalCode::DType, message);
    }
    let Some(session) = session.filter(|session| session.id == open.session) else {
        let message = format!("the chain knows no session {}", open.session);
        return refuse(RefusalCode::Session, message);
    };
    if session.subnet != me.subnet {
        let message = format!(
            "the session is of subnet {}, not {}",
            session.subnet, me.subnet
        );
        return refuse(RefusalCode::Session, message);
    }
    if session.status != SessionStatus::Open || now.block >= session.deadline {
        let message = "the session is settled or expired; open another".into();
        return refuse(RefusalCode::Session, message);
    }
    let Some(server) = session.servers.iter().find(|server| server.node == me.node) else {
        let message = format!("node {} is no server of this session", me.node);
        return refuse(RefusalCode::Session, message);
    };
    if server.span != me.span {
        let message = format!(
            "this server holds blocks {} now, not {} as when the session opened",
            me.span, server.span
        );
        return refuse(RefusalCode::WrongNode, message);
    }
    let payload = open_payload(&me.genesis, open.session, me.node, client, &me.peer);
    if !verify(&session.session_key, &payload, &open.signature) {
        let message = "the session key did not sign this stream: session, node and both peer ids";
        return refuse(RefusalCode::Signature, message.into());
    }
    if open.max_positions == 0 || open.max_positions > me.context {
        let message = format!("reserve 1 to {} positions", me.context);
        return refuse(RefusalCode::Context, message);
    }
    Ok(ValidOpen {
        session: open.session,
        epoch: open.epoch,
        positions: open.max_positions,
        receipts: open.receipts,
        session_key: session.session_key,
        cap: server.cap,
        price: server.price,
        deadline: session.deadline,
    })
}
