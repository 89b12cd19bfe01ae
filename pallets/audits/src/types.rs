//! What the pallet stores.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{traits::ConstU32, BoundedVec};
use quipu_primitives::{
    audit::{Accusation, Member, Round, Stage, Subject, MAX_PANEL},
    Balance, Digest, NodeId, SessionId, SubnetId,
};
use scale_info::TypeInfo;

/// Number of an epoch, which is as long as its randomness lasts.
pub type Epoch = u64;

/// What waits for a draw.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Draw {
    /// Which servers of this session are audited.
    #[codec(index = 0)]
    Session(SessionId),
    /// The next panel of this audit.
    #[codec(index = 1)]
    Panel(Subject),
}

/// An auditor that let a server pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Pass {
    /// The auditor.
    pub node: NodeId,
    /// The work that it judged.
    pub head: Digest,
}

/// Most auditors that let a server pass before its audit is over: those of the first two rounds.
pub const MAX_PASSES: u32 = 2;

/// The audit of what one node did in a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Audit<AccountId, BlockNumber> {
    /// The subnet that served the session, whose nodes audit it.
    pub subnet: SubnetId,
    /// Who is cheated if it is wrong.
    pub victim: AccountId,
    /// What it is paid with.
    pub price: Balance,
    /// Who looks.
    pub round: Round,
    /// Where it stands.
    pub stage: Stage<BlockNumber>,
    /// How many panels of this round did not do their duty.
    pub attempts: u32,
    /// Who is drawn in this round. Nobody while it waits and while the server is asked.
    pub members: BoundedVec<Member, ConstU32<MAX_PANEL>>,
    /// Who let the server pass.
    pub passes: BoundedVec<Pass, ConstU32<MAX_PASSES>>,
    /// Who did not.
    pub accusation: Option<Accusation>,
    /// The work that a trial is about: what the server says it did, or the accuser if it says nothing.
    pub head: Option<Digest>,
}

impl<AccountId, BlockNumber> Audit<AccountId, BlockNumber> {
    /// Nodes that are bound by it, in no order, and perhaps more than once.
    pub fn bound(&self, subject: Subject) -> impl Iterator<Item = NodeId> + '_ {
        let open = !self.stage.is_closed();
        let passed = self.passes.iter().map(|pass| pass.node);
        let accuser = self.accusation.iter().map(|accusation| accusation.node);
        let members = self.members.iter().map(|member| member.node);
        let all = core::iter::once(subject.node)
            .chain(passed)
            .chain(accuser)
            .chain(members);
        all.filter(move |_| open)
    }
}
