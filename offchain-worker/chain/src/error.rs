//! From subxt's errors to ours.

use quipu_worker_core::ports::ChainError;
use std::{future::Future, time::Duration};
use subxt::error::{DispatchError, Error, RpcError};

/// The class of a subxt error.
pub(crate) fn chain_error(error: Error) -> ChainError {
    match error {
        Error::Rpc(RpcError::ClientError(subxt::ext::subxt_rpcs::Error::User(user))) => {
            ChainError::Refused(match &user.data {
                Some(data) => format!("{}: {}", user.message, data.get().trim_matches('"')),
                None => user.message.clone(),
            })
        }
        Error::Rpc(other) => ChainError::Unreachable(other.to_string()),
        Error::Io(other) => ChainError::Unreachable(other.to_string()),
        Error::Metadata(other) => ChainError::Incompatible(other.to_string()),
        Error::MetadataDecoding(other) => ChainError::Incompatible(other.to_string()),
        Error::Runtime(error) => dispatch_error(error),
        Error::Transaction(other) => ChainError::Refused(other.to_string()),
        other => ChainError::Decode(other.to_string()),
    }
}

/// An extrinsic that was included and failed.
fn dispatch_error(error: DispatchError) -> ChainError {
    let DispatchError::Module(module) = &error else {
        return ChainError::Dispatch {
            pallet: "runtime".into(),
            error: format!("{error:?}"),
            docs: error.to_string(),
        };
    };
    match module.details() {
        Ok(details) => ChainError::Dispatch {
            pallet: details.pallet.name().to_owned(),
            error: details.variant.name.clone(),
            docs: details.variant.docs.join(" ").trim().to_owned(),
        },
        Err(unknown) => ChainError::Decode(unknown.to_string()),
    }
}

/// Did the connection break, so that nothing is known of what was under way?
pub(crate) fn is_disconnection(error: &Error) -> bool {
    match error {
        Error::Rpc(RpcError::ClientError(subxt::ext::subxt_rpcs::Error::User(_))) => false,
        Error::Rpc(_) | Error::Io(_) => true,
        _ => false,
    }
}

/// The pool's answer to an extrinsic that it held until a moment ago, such as one of a block.
const TEMPORARILY_BANNED: i32 = 1012;
/// The pool's answer to an extrinsic that it holds already.
const ALREADY_IMPORTED: i32 = 1013;

/// Does the node's pool know the extrinsic already, from an earlier sending?
pub(crate) fn is_pooled(error: &Error) -> bool {
    use subxt::ext::subxt_rpcs::Error as Client;
    let known = [TEMPORARILY_BANNED, ALREADY_IMPORTED];
    matches!(error, Error::Rpc(RpcError::ClientError(Client::User(user))) if known.contains(&user.code))
}

/// How long a read waits for a broken connection to be repaired.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a broken connection is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// Repeats a read that a broken connection interrupted, until it is answered or the patience ends.
/// Reads change nothing, so that they may be repeated at will. Cancel-safe.
pub(crate) async fn read<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ChainError>
where
    F: Future<Output = Result<T, ChainError>>,
{
    let started = tokio::time::Instant::now();
    loop {
        match attempt().await {
            Err(ChainError::Unreachable(_)) if started.elapsed() < PATIENCE => {
                tokio::time::sleep(RETRY).await;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use subxt::ext::subxt_rpcs::{Error as Client, UserError};

    #[test]
    fn what_the_pool_knows_already_is_told_from_what_it_refuses() {
        for (code, pooled) in [(1010, false), (1012, true), (1013, true), (1014, false)] {
            let error = Error::Rpc(RpcError::ClientError(Client::User(UserError {
                code,
                message: "no".into(),
                data: None,
            })));
            assert_eq!(is_pooled(&error), pooled, "{code}");
            assert!(!is_disconnection(&error));
            assert!(matches!(chain_error(error), ChainError::Refused(_)));
        }
    }
}
