//! What most stories begin with: a model, its servers, and a consumer's session.

use crate::{event, Chain, Key};
use quipu_pallet_audits as audits;
use quipu_pallet_inference as inference;
use quipu_pallet_slashing as slashing;
use quipu_pallet_staking as staking;
use quipu_pallet_subnets as subnets;
use quipu_primitives::{
    audit::{Finding, Subject},
    traits::Bonds,
    Architecture, Balance, DType, Digest, JobId, Kernel, Manifest, ModelConfig, NodeId,
    NumericProfile, Receipt, SessionId, Span, SubnetId, Terms, Voucher,
};
use quipu_runtime::{AccountId, Runtime, RuntimeCall, Staking, QPU};

/// What each server asks per position and block.
pub const PRICE: Balance = QPU / 1_000;

/// What a coldkey gives its hotkey to pay fees from.
pub const FEE_MONEY: Balance = 10 * QPU;

/// The longest sequence of a [`model`].
pub const CONTEXT: u32 = 2_048;

/// A server: who owns it, what signs for it, and its node.
#[derive(Clone)]
pub struct Server {
    /// Owns the bond and is paid.
    pub cold: Key,
    /// Signs.
    pub hot: Key,
    /// Its node.
    pub node: NodeId,
}

/// The manifest of a model of so many blocks. The chain sees only digests, so no weights are
/// behind them.
pub fn model(blocks: u16) -> Manifest {
    let mut manifest = Manifest {
        name: b"A model".to_vec().try_into().expect("is short"),
        config: ModelConfig {
            architecture: Architecture::Llama,
            blocks,
            hidden_size: 576,
            intermediate_size: 1_536,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            vocab_size: 49_152,
            context_length: CONTEXT,
            tied_embeddings: true,
            rms_norm_eps_pico: 10_000_000,
            rope_theta_milli: 100_000_000,
            rope_scaling: None,
        },
        block_digests: (0..blocks)
            .map(|block| [block as u8; 32])
            .collect::<Vec<_>>()
            .try_into()
            .expect("at most 256 blocks"),
        embedding_digest: [101; 32],
        head_digest: [102; 32],
        weights_root: [0; 32],
        tokenizer_digest: [103; 32],
        profiles: vec![profile()].try_into().expect("is one"),
        license: b"Apache-2.0".to_vec().try_into().expect("is short"),
        uri: b"https://example.org"
            .to_vec()
            .try_into()
            .expect("is short"),
        terms: Terms {
            min_self_bond: 0,
            max_nodes: 256,
        },
    };
    manifest.weights_root = manifest.computed_weights_root();
    manifest
}

/// The numeric profile of [`model`].
pub fn profile() -> NumericProfile {
    NumericProfile {
        weights: DType::F32,
        activations: DType::F32,
        kv: DType::F32,
        kernel: Kernel::FlexF32,
    }
}

/// The peer id that a node of this name has: the identity multihash of its key.
pub fn peer_id(name: &str) -> subnets::PeerId {
    let key = Key::new(&format!("{name}//peer")).public();
    let prefix = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    let bytes = [prefix.as_slice(), &key].concat();
    bytes.try_into().expect("is short")
}

/// Moves money, keeping the sender alive.
pub fn transfer(to: &AccountId, value: Balance) -> RuntimeCall {
    pallet_balances::Call::transfer_keep_alive {
        dest: to.clone().into(),
        value,
    }
    .into()
}

/// Asks for a node of `name`, signed for by `//name//hotkey`.
pub fn register_node(subnet: SubnetId, name: &str) -> RuntimeCall {
    subnets::Call::register_node {
        subnet,
        hotkey: Key::new(&format!("{name}//hotkey")).account(),
        peer_id: peer_id(name),
    }
    .into()
}

/// Asks for a seat.
pub fn join(node: NodeId, span: Span) -> RuntimeCall {
    subnets::Call::join {
        node,
        span,
        price: PRICE,
        profile: profile().digest(),
    }
    .into()
}

/// Bonds for a node.
pub fn bond(node: NodeId, amount: Balance) -> RuntimeCall {
    staking::Call::bond { node, amount }.into()
}

/// Asks part of a bond back.
pub fn unbond(node: NodeId, amount: Balance) -> RuntimeCall {
    staking::Call::unbond { node, amount }.into()
}

/// Asks what is due.
pub fn withdraw(node: NodeId) -> RuntimeCall {
    staking::Call::withdraw { node }.into()
}

/// Asks for a node's removal.
pub fn remove_node(node: NodeId) -> RuntimeCall {
    subnets::Call::remove_node { node }.into()
}

/// Opens a session, paid by vouchers of `session_key`.
pub fn open_session(
    subnet: SubnetId,
    session_key: &Key,
    caps: &[(NodeId, Balance)],
    duration: u32,
) -> RuntimeCall {
    inference::Call::open_session {
        subnet,
        session_key: session_key.public(),
        caps: caps.to_vec().try_into().expect("not too many servers"),
        duration,
        seed_commitment: [9; 32],
        integrator: None,
    }
    .into()
}

/// As [`open_session`], paid by the consumer's quota.
pub fn open_by_quota(
    subnet: SubnetId,
    session_key: &Key,
    caps: &[(NodeId, Balance)],
    duration: u32,
) -> RuntimeCall {
    inference::Call::open_session_by_quota {
        subnet,
        session_key: session_key.public(),
        caps: caps.to_vec().try_into().expect("not too many servers"),
        duration,
        seed_commitment: [9; 32],
        integrator: None,
    }
    .into()
}

/// Settles a session with vouchers that `session_key` signs over these positions.
pub fn settle(
    chain: &Chain,
    session: SessionId,
    session_key: &Key,
    positions: &[(NodeId, u32)],
    receipt_root: Digest,
) -> RuntimeCall {
    let genesis = chain.genesis_hash();
    let vouchers: Vec<_> = positions
        .iter()
        .map(|(node, positions)| {
            let voucher = Voucher {
                session,
                node: *node,
                positions: *positions,
            };
            session_key.voucher(&genesis, voucher)
        })
        .collect();
    inference::Call::settle {
        session,
        vouchers: vouchers.try_into().expect("not too many vouchers"),
        receipt_root,
    }
    .into()
}

/// Redeems a voucher that `session_key` signs over these positions.
pub fn redeem(
    chain: &Chain,
    session: SessionId,
    session_key: &Key,
    node: NodeId,
    positions: u32,
) -> RuntimeCall {
    let voucher = Voucher {
        session,
        node,
        positions,
    };
    let (voucher, signature) = session_key.voucher(&chain.genesis_hash(), voucher);
    inference::Call::redeem {
        session,
        voucher,
        signature,
    }
    .into()
}

/// Has a session paid out.
pub fn finalize(session: SessionId) -> RuntimeCall {
    inference::Call::finalize { session }.into()
}

/// A receipt of the server's for a range of positions, in which `output` came out.
pub fn receipt(session: SessionId, node: NodeId, start: u32, end: u32, output: u8) -> Receipt {
    Receipt {
        session,
        node,
        span: Span { start: 0, end: 10 },
        weights_root: [1; 32],
        profile: profile().digest(),
        start,
        end,
        input: [2; 32],
        output: [output; 32],
        previous: [0; 32],
    }
}

/// Sends in two receipts, each with the key that signs it.
pub fn report_equivocation(
    chain: &Chain,
    first: (&Key, Receipt),
    second: (&Key, Receipt),
) -> RuntimeCall {
    let (genesis, session_key) = (chain.genesis_hash(), session_key().public());
    let evidence = slashing::Equivocation {
        first_key: first.0.account(),
        first: first.0.receipt(&genesis, &session_key, first.1),
        second_key: second.0.account(),
        second: second.0.receipt(&genesis, &session_key, second.1),
    };
    slashing::Call::report_equivocation {
        evidence: Box::new(evidence),
    }
    .into()
}

/// What a server commits to as an auditor.
pub fn commit(chain: &Chain, subject: Subject, auditor: &Server, finding: &Finding) -> RuntimeCall {
    let genesis = chain.genesis_hash();
    let commitment = finding.commitment(&genesis, subject, auditor.node, &salt(auditor));
    audits::Call::commit {
        subject,
        commitment,
    }
    .into()
}

/// Reveals it.
pub fn reveal(subject: Subject, auditor: &Server, finding: Finding) -> RuntimeCall {
    audits::Call::reveal {
        subject,
        finding,
        salt: salt(auditor),
    }
    .into()
}

fn salt(auditor: &Server) -> [u8; 32] {
    [auditor.node as u8; 32]
}

/// Says which work the server stands by.
pub fn answer(subject: Subject, head: Digest) -> RuntimeCall {
    audits::Call::answer { subject, head }.into()
}

/// Requests a job of 16 tokens at most.
pub fn request(subnet: SubnetId, prompt: &str, fee: Balance) -> RuntimeCall {
    inference::Call::request {
        subnet,
        prompt: prompt.as_bytes().to_vec().try_into().expect("is short"),
        max_tokens: 16,
        fee,
    }
    .into()
}

/// Answers a job.
pub fn submit_result(
    job: JobId,
    answer: &str,
    session: SessionId,
    receipt_root: Digest,
) -> RuntimeCall {
    inference::Call::submit_result {
        job,
        answer: answer.as_bytes().to_vec().try_into().expect("is short"),
        finish: quipu_primitives::job::FinishReason::Stop,
        session,
        receipt_root,
    }
    .into()
}

impl Chain {
    /// The creator registers a model of so many blocks.
    pub fn register_subnet(&mut self, creator: &Key, blocks: u16) -> SubnetId {
        let manifest = Box::new(model(blocks));
        let events = self.send(creator, subnets::Call::register_subnet { manifest });
        event!(events, Subnets(subnets::Event::SubnetRegistered { subnet, .. }) => *subnet)
    }

    /// The owner `//name` registers a node and bonds the chain's minimum for it.
    pub fn register_server(&mut self, subnet: SubnetId, name: &str) -> Server {
        let (cold, hot) = (Key::new(name), Key::new(&format!("{name}//hotkey")));
        self.send(&cold, transfer(&hot.account(), FEE_MONEY));
        let events = self.send(&cold, register_node(subnet, name));
        let node = event!(events, Subnets(subnets::Event::NodeRegistered { node, .. }) => *node);
        self.send(&cold, bond(node, Staking::minimum_self_bond()));
        Server { cold, hot, node }
    }

    /// As [`Chain::register_server`], and its hotkey takes a seat on these blocks.
    pub fn serve(&mut self, subnet: SubnetId, name: &str, start: u16, end: u16) -> Server {
        let server = self.register_server(subnet, name);
        self.send(&server.hot, join(server.node, Span { start, end }));
        server
    }

    /// So many more nodes of the subnet that `//Auditor1`, `//Auditor2` and so on own: with a bond, without
    /// a seat.
    pub fn auditors(&mut self, subnet: SubnetId, count: usize) -> Vec<Server> {
        let funder = Key::new("Dave");
        let names: Vec<_> = (1..=count)
            .map(|number| format!("Auditor{number}"))
            .collect();
        let needed = Staking::minimum_self_bond() + node_deposit() + 2 * FEE_MONEY;
        let pay = |name: &String| transfer(&Key::new(name).account(), needed);
        self.send_all(&funder, names.iter().map(pay).collect());
        let register = |name: &String| self.register_server(subnet, name);
        names.iter().map(register).collect()
    }

    /// `//Creator` registers a model of 30 blocks, of which `//Server1` to `//Server3`
    /// serve a third each.
    pub fn active_subnet(&mut self) -> (SubnetId, [Server; 3]) {
        let subnet = self.register_subnet(&Key::new("Creator"), 30);
        let servers = [
            self.serve(subnet, "Server1", 0, 10),
            self.serve(subnet, "Server2", 10, 20),
            self.serve(subnet, "Server3", 20, 30),
        ];
        (subnet, servers)
    }

    /// The consumer opens a session in which each server can be paid for so many positions of ten
    /// blocks.
    pub fn open(
        &mut self,
        consumer: &Key,
        subnet: SubnetId,
        servers: &[Server],
        positions: u32,
        duration: u32,
    ) -> SessionId {
        let cap = third(positions);
        let caps: Vec<_> = servers.iter().map(|server| (server.node, cap)).collect();
        let call = open_session(subnet, &session_key(), &caps, duration);
        let events = self.send(consumer, call);
        event!(events, Inference(inference::Event::SessionOpened { session, .. }) => *session)
    }
}

/// What a third of the model earns for so many positions.
pub fn third(positions: u32) -> Balance {
    quipu_primitives::cost(PRICE, 10, positions).expect("is small")
}

/// [`third`] as a change of a balance.
pub fn gain(positions: u32) -> i128 {
    i128::try_from(third(positions)).expect("is small")
}

/// The key that signs the vouchers of a story's sessions.
pub fn session_key() -> Key {
    Key::new("SessionKey")
}

/// The deposit of a node.
pub fn node_deposit() -> Balance {
    <Runtime as subnets::Config>::NodeDeposit::get()
}

/// The deposit of a subnet.
pub fn registration_deposit() -> Balance {
    <Runtime as subnets::Config>::RegistrationDeposit::get()
}
