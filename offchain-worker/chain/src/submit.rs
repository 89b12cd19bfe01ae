//! Submission: signed once, sent until it is in a block, never in effect twice.

use crate::{
    adapter::{account, SubxtChain},
    error::{chain_error, is_disconnection, is_pooled, read, RETRY},
    events,
    runtime::api,
};
use futures::StreamExt;
use parking_lot::Mutex;
use quipu_primitives::{AccountBytes, SignatureBytes};
use quipu_worker_core::{
    ports::{Call, Chain, ChainError, EconomyCall, Included},
    Signer,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use subxt::{
    config::DefaultExtrinsicParamsBuilder,
    tx::{Payload, SubmittableTransaction, TxStatus},
    utils::{AccountId32, MultiAddress, MultiSignature, Static, H256},
    OnlineClient, PolkadotConfig,
};
use tokio::time::timeout;
use tracing::{debug, warn};

/// Blocks for which a signed extrinsic may be included.
const MORTALITY: u32 = 64;
/// Longest pause between two looks for an extrinsic that was lost sight of.
const LONGEST_RETRY: Duration = Duration::from_secs(8);
/// How long the pool may say nothing about an extrinsic until it is looked for. One that waits for an earlier
/// one of its account, which the pool has dropped since, would hear nothing for ever.
const SILENCE: Duration = Duration::from_secs(60);

/// A call of any pallet.
type AnyCall = Box<dyn Payload + Send + Sync>;
type Transaction = SubmittableTransaction<PolkadotConfig, OnlineClient<PolkadotConfig>>;

/// Extrinsics of one account are signed one after the other, each once the pool has the one before it:
/// then the node counts that one's nonce as used. None waits for another's block.
#[derive(Default)]
pub(crate) struct Nonces(Mutex<HashMap<AccountBytes, Arc<tokio::sync::Mutex<()>>>>);

impl Nonces {
    /// Waits for this account's turn.
    pub(crate) async fn turn(&self, who: AccountBytes) -> Turn {
        let lock = self.0.lock().entry(who).or_default().clone();
        lock.lock_owned().await
    }
}

/// The account's turn to sign: given up when dropped.
pub(crate) type Turn = tokio::sync::OwnedMutexGuard<()>;

/// A [`Signer`] as subxt wants it.
struct SubxtSigner<'a>(&'a dyn Signer);

impl subxt::tx::Signer<PolkadotConfig> for SubxtSigner<'_> {
    fn account_id(&self) -> AccountId32 {
        account(self.0.public())
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        let signature: SignatureBytes = self.0.sign(payload);
        MultiSignature::Sr25519(signature)
    }
}

/// The runtime's call.
fn payload(call: Call) -> AnyCall {
    let tx = api::tx();
    match call {
        Call::RegisterSubnet(manifest) => Box::new(tx.subnets().register_subnet(Static(*manifest))),
        Call::RegisterNode {
            subnet,
            hotkey,
            peer_id,
        } => Box::new(
            tx.subnets()
                .register_node(subnet, account(hotkey), bounded(peer_id)),
        ),
        Call::Join {
            node,
            span,
            price,
            profile,
        } => Box::new(tx.subnets().join(node, Static(span), price, profile)),
        Call::UpdatePrice { node, price } => Box::new(tx.subnets().update_price(node, price)),
        Call::Leave { node } => Box::new(tx.subnets().leave(node)),
        Call::RemoveNode { node } => Box::new(tx.subnets().remove_node(node)),
        Call::Bond { node, amount } => Box::new(tx.staking().bond(node, amount)),
        Call::Unbond { node, amount } => Box::new(tx.staking().unbond(node, amount)),
        Call::Withdraw { node } => Box::new(tx.staking().withdraw(node)),
        Call::OpenSession {
            subnet,
            session_key,
            caps,
            duration,
            seed_commitment,
            integrator,
        } => Box::new(tx.inference().open_session(
            subnet,
            session_key,
            bounded(caps),
            duration,
            seed_commitment,
            integrator.map(account),
        )),
        Call::Settle {
            session,
            vouchers,
            receipt_root,
        } => {
            let vouchers = vouchers
                .into_iter()
                .map(|(v, signature)| (Static(v), signature));
            Box::new(
                tx.inference()
                    .settle(session, bounded(vouchers.collect()), receipt_root),
            )
        }
        Call::Redeem { voucher, signature } => Box::new(tx.inference().redeem(
            voucher.session,
            Static(voucher),
            signature,
        )),
        Call::Finalize { session } => Box::new(tx.inference().finalize(session)),
        Call::RequestJob {
            subnet,
            prompt,
            max_tokens,
            fee,
        } => Box::new(
            tx.inference()
                .request(subnet, bounded(prompt), max_tokens, fee),
        ),
        Call::SubmitResult {
            job,
            answer,
            finish,
            session,
            receipt_root,
        } => Box::new(tx.inference().submit_result(
            job,
            bounded(answer),
            Static(finish),
            session,
            receipt_root,
        )),
        Call::RefundJob { job } => Box::new(tx.inference().refund_job(job)),
        Call::CommitFinding {
            subject,
            commitment,
        } => Box::new(tx.audits().commit(Static(subject), commitment)),
        Call::RevealFinding {
            subject,
            finding,
            salt,
        } => Box::new(tx.audits().reveal(Static(subject), Static(finding), salt)),
        Call::AnswerAudit { subject, head } => Box::new(tx.audits().answer(Static(subject), head)),
        Call::Transfer { to, amount } => Box::new(
            tx.balances()
                .transfer_keep_alive(MultiAddress::Id(account(to)), amount),
        ),
        Call::Economy(call) => economy(call),
    }
}

fn economy(call: EconomyCall) -> AnyCall {
    let tx = api::tx();
    match call {
        EconomyCall::Delegate { node, amount } => Box::new(tx.staking().delegate(node, amount)),
        EconomyCall::Undelegate { node, amount } => Box::new(tx.staking().undelegate(node, amount)),
        EconomyCall::WithdrawDelegation { node, delegator } => {
            Box::new(tx.staking().withdraw_delegation(node, account(delegator)))
        }
        EconomyCall::Claim { node } => Box::new(tx.staking().claim(node)),
        EconomyCall::ClaimOwn { node } => Box::new(tx.staking().claim_own(node)),
        EconomyCall::SetCommission { node, parts } => {
            let share = api::runtime_types::sp_arithmetic::per_things::Perbill(parts);
            Box::new(tx.staking().set_commission(node, share))
        }
        EconomyCall::MoveDelegation { from, to, amount } => {
            Box::new(tx.staking().move_delegation(from, to, amount))
        }
        EconomyCall::MoveBond { from, to, amount } => {
            Box::new(tx.staking().move_bond(from, to, amount))
        }
        EconomyCall::LockQuota { amount } => Box::new(tx.access().lock(amount)),
        EconomyCall::UnlockQuota { amount } => Box::new(tx.access().unlock(amount)),
    }
}

/// A bounded vector as the metadata names it; the runtime refuses one that is too long.
fn bounded<T>(
    items: Vec<T>,
) -> api::runtime_types::bounded_collections::bounded_vec::BoundedVec<T> {
    api::runtime_types::bounded_collections::bounded_vec::BoundedVec(items)
}

/// Signs a call with the account's next nonce.
async fn sign(
    chain: &SubxtChain,
    signer: &dyn Signer,
    call: &AnyCall,
) -> Result<Transaction, ChainError> {
    let who = account(signer.public());
    let nonce = chain
        .rpc
        .system_account_next_index(&who)
        .await
        .map_err(|error| chain_error(error.into()))?;
    let params = DefaultExtrinsicParamsBuilder::<PolkadotConfig>::new()
        .nonce(nonce)
        .mortal(MORTALITY.into());
    let mut partial = chain
        .client
        .tx()
        .create_partial(call, &who, params.build())
        .await
        .map_err(chain_error)?;
    Ok(partial.sign(&SubxtSigner(signer)))
}

/// Signs a call and brings it into a block of the best chain.
pub(crate) async fn submit(
    chain: &SubxtChain,
    signer: &dyn Signer,
    call: Call,
    turn: Turn,
) -> Result<Included, ChainError> {
    let signed = Signed::new(chain, signer, call).await?;
    let block = signed.bring(chain, Some(turn)).await?;
    read(|| included(chain, block, &signed.transaction)).await
}

/// Signs a call and brings it into a block that is final.
pub(crate) async fn submit_final(
    chain: &SubxtChain,
    signer: &dyn Signer,
    call: Call,
    turn: Turn,
) -> Result<Included, ChainError> {
    // Listen first, to miss no block.
    let mut blocks = chain.events().await?;
    let signed = Signed::new(chain, signer, call).await?;
    let mut block = signed.bring(chain, Some(turn)).await?;
    loop {
        let number = read(|| number(chain, block)).await?;
        while chain.finalized().await? < number {
            if blocks.next().await.is_none() {
                return Err(ChainError::Unreachable("the chain's events ended".into()));
            }
        }
        if read(|| chain.block_hash(number)).await? == block {
            return read(|| included(chain, block, &signed.transaction)).await;
        }
        debug!(
            number,
            "another block was finalised; the extrinsic is in a later one"
        );
        block = signed.bring(chain, None).await?;
    }
}

/// A signed extrinsic on its way.
struct Signed {
    transaction: Transaction,
    /// The final block when it was signed: it is in none up to there.
    since: u32,
    /// Once this block is final, it comes into no later one.
    until: u32,
}

impl Signed {
    async fn new(chain: &SubxtChain, signer: &dyn Signer, call: Call) -> Result<Self, ChainError> {
        let call = payload(call);
        let since = chain.finalized().await?;
        // Nothing was sent yet, so that this may be repeated.
        let transaction = read(|| sign(chain, signer, &call)).await?;
        // It was signed on a final block, which is not later than this one.
        let until = chain.finalized().await?.saturating_add(MORTALITY);
        Ok(Signed {
            transaction,
            since,
            until,
        })
    }

    /// Sends it until it is in a block of the best chain, or can't come into one any more. Gives the
    /// account's turn up once its nonce counts as used.
    async fn bring(&self, chain: &SubxtChain, mut turn: Option<Turn>) -> Result<H256, ChainError> {
        let Signed {
            transaction,
            since,
            until,
        } = self;
        let mut pause = RETRY;
        loop {
            match watch(transaction, &mut turn).await {
                Ok(block) => return Ok(block),
                Err(Lost::Refused(error)) => {
                    // It may be refused as known or stale because an earlier sending went through.
                    return match read(|| find(chain, *since, transaction)).await {
                        Ok(Some(block)) => Ok(block),
                        _ => Err(error),
                    };
                }
                Err(Lost::Sight(error)) => {
                    warn!(%error, "lost sight of an extrinsic; looking for it");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_RETRY);
                    // Asked first, so that what is found nowhere then came into no block.
                    let over = matches!(chain.finalized().await, Ok(last) if last >= *until);
                    match find(chain, *since, transaction).await {
                        Ok(Some(block)) => return Ok(block),
                        Ok(None) if over => return Err(chain_error(error)),
                        Ok(None) => debug!("it is in no block; sending the same bytes again"),
                        Err(ChainError::Unreachable(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// Why an extrinsic was not seen in a block.
enum Lost {
    /// The node does not want it.
    Refused(ChainError),
    /// The connection broke, or the pool knows it from an earlier sending: it may be in a block by
    /// now.
    Sight(subxt::Error),
}

/// Sends an extrinsic and waits for its block. Gives the turn up when the pool has it.
async fn watch(transaction: &Transaction, turn: &mut Option<Turn>) -> Result<H256, Lost> {
    let class = |error: subxt::Error| match is_disconnection(&error) || is_pooled(&error) {
        true => Lost::Sight(error),
        false => Lost::Refused(chain_error(error)),
    };
    let mut progress = transaction.submit_and_watch().await.map_err(class)?;
    let silent = |_| Lost::Sight(subxt::Error::Other("no news from the pool".into()));
    while let Some(status) = timeout(SILENCE, progress.next()).await.map_err(silent)? {
        match status.map_err(class)? {
            TxStatus::InBestBlock(block) | TxStatus::InFinalizedBlock(block) => {
                return Ok(block.block_hash())
            }
            TxStatus::Invalid { message } | TxStatus::Dropped { message } => {
                return Err(Lost::Refused(ChainError::Refused(message)))
            }
            TxStatus::Error { message } => return Err(Lost::Sight(subxt::Error::Other(message))),
            TxStatus::Validated | TxStatus::Broadcasted => drop(turn.take()),
            TxStatus::NoLongerInBestBlock => {}
        }
    }
    Err(Lost::Sight(subxt::Error::Other(
        "the node stopped reporting".into(),
    )))
}

/// The block of the best chain after `since` that holds the extrinsic.
async fn find(
    chain: &SubxtChain,
    since: u32,
    transaction: &Transaction,
) -> Result<Option<H256>, ChainError> {
    let last = number(chain, chain.best().await?).await?;
    for number in since..=last {
        let hash = chain.block_hash(number).await?;
        let block = chain.rpc.chain_get_block(Some(hash)).await;
        let block = block.map_err(|error| chain_error(error.into()))?;
        let held = |block: &subxt::backend::legacy::rpc_methods::BlockDetails<PolkadotConfig>| {
            block
                .block
                .extrinsics
                .iter()
                .any(|bytes| bytes.0 == transaction.encoded())
        };
        if block.as_ref().is_some_and(held) {
            return Ok(Some(hash));
        }
    }
    Ok(None)
}

/// The number of a block that the node knows.
async fn number(chain: &SubxtChain, block: H256) -> Result<u32, ChainError> {
    let header = chain.rpc.chain_get_header(Some(block)).await;
    header
        .map_err(|error| chain_error(error.into()))?
        .map(|header| header.number)
        .ok_or_else(|| ChainError::Decode(format!("the node does not know its block {block}")))
}

/// What the extrinsic caused in its block.
async fn included(
    chain: &SubxtChain,
    hash: H256,
    transaction: &Transaction,
) -> Result<Included, ChainError> {
    let block = chain.client.blocks().at(hash).await.map_err(chain_error)?;
    let extrinsics = block.extrinsics().await.map_err(chain_error)?;
    let ours = extrinsics
        .iter()
        .find(|extrinsic| extrinsic.hash() == transaction.hash())
        .ok_or_else(|| ChainError::Decode("the extrinsic is not in its block".into()))?;
    let mut known = Vec::new();
    for event in ours.events().await.map_err(chain_error)?.iter() {
        let event = event.map_err(chain_error)?;
        if let Some(failed) = event
            .as_event::<api::system::events::ExtrinsicFailed>()
            .map_err(chain_error)?
        {
            debug!(?failed, "extrinsic failed");
            let error = subxt::error::DispatchError::decode_from(
                event.field_bytes().to_vec(),
                chain.client.metadata(),
            );
            return Err(error.map_or_else(chain_error, |error| chain_error(error.into())));
        }
        known.extend(events::known(&event)?);
    }
    Ok(Included {
        number: block.number(),
        hash: hash.0,
        events: known,
    })
}
