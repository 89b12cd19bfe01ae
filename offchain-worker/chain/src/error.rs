//! From subxt's errors to ours.

use quipu_worker_core::ports::ChainError;
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
