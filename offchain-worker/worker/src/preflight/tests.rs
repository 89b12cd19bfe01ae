use super::*;
use crate::daemon::tests::rig::{key, Subnet, CREATOR, FIRST, PRICE, SECOND, SUBNET};
use quipu_network::Keypair;
use quipu_testkit::{tiny::flex_profile, TinyFiles};
use quipu_worker_core::Signer;

async fn place(
    subnet: &Subnet,
    hotkey: u8,
    number: u32,
    blocks: Blocks,
) -> Result<Place, WorkerError> {
    let model = Arc::new(subnet.files.open());
    find_place(
        &*subnet.chain,
        key(hotkey).public(),
        number,
        blocks,
        64,
        Device::Cpu,
        model,
    )
    .await
}

fn span(start: u16, end: u16) -> Blocks {
    Blocks::Span(Span { start, end })
}

#[tokio::test]
async fn a_registered_worker_with_the_right_weights_finds_its_place() {
    let subnet = Subnet::new();
    let found = place(&subnet, FIRST.hotkey, SUBNET, span(0, 2))
        .await
        .unwrap();
    assert_eq!((found.node.id, found.span), (FIRST.id, FIRST.span));
    assert_eq!(found.profile, flex_profile());
}

#[tokio::test]
async fn what_is_wrong_is_named_with_what_to_do() {
    let subnet = Subnet::new();
    let error = |hotkey, number, blocks| {
        let subnet = &subnet;
        async move { place(subnet, hotkey, number, blocks).await.unwrap_err() }
    };
    let unregistered = error(99, SUBNET, span(0, 2)).await;
    assert!(
        unregistered
            .to_string()
            .contains("quipu node register --subnet 1"),
        "{unregistered}"
    );
    assert!(matches!(
        error(FIRST.hotkey, 9, span(0, 2)).await,
        WorkerError::NoSubnet(9)
    ));
    let outside = error(FIRST.hotkey, SUBNET, span(2, 5)).await;
    assert!(outside.to_string().contains("--blocks 2:5"), "{outside}");
    let nothing = error(FIRST.hotkey, SUBNET, Blocks::Fit { memory: 1000 }).await;
    assert!(
        matches!(nothing, WorkerError::NothingFits { .. }),
        "{nothing}"
    );
    // A second subnet, in which the node is not.
    subnet.apply(
        CREATOR,
        Call::RegisterSubnet(Box::new(subnet.manifest.clone())),
    );
    let other = error(FIRST.hotkey, 2, span(0, 2)).await;
    assert!(
        matches!(
            other,
            WorkerError::OtherSubnet {
                found: 1,
                wanted: 2,
                ..
            }
        ),
        "{other}"
    );
}

#[tokio::test]
async fn wrong_weights_are_fatal_and_their_block_is_named() {
    let subnet = Subnet::new();
    let others = TinyFiles::new(8);
    let model = Arc::new(others.open());
    let hotkey = key(FIRST.hotkey).public();
    let error = find_place(
        &*subnet.chain,
        hotkey,
        SUBNET,
        span(1, 3),
        64,
        Device::Cpu,
        model,
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("block 1 differs"), "{error}");
}

#[tokio::test]
async fn a_subnet_with_foreign_profiles_is_not_served() {
    let mut subnet = Subnet::new();
    let mut foreign = subnet.manifest.profiles[0].clone();
    foreign.kernel = Kernel::Cuda;
    subnet.manifest.profiles = vec![foreign].try_into().unwrap();
    subnet.apply(
        CREATOR,
        Call::RegisterSubnet(Box::new(subnet.manifest.clone())),
    );
    assert!(profile(&subnet.manifest, Device::Cpu).is_none());
    let on_cuda = profile(&subnet.manifest, Device::Cuda);
    assert_eq!(on_cuda.map(|profile| profile.kernel), Some(Kernel::Cuda));
    subnet.manifest.profiles = vec![flex_profile()].try_into().unwrap();
    assert!(profile(&subnet.manifest, Device::Cuda).is_none());
    // The chain still has the first manifest, which a device of the other kind does not compute.
    let (hotkey, model) = (key(FIRST.hotkey).public(), Arc::new(subnet.files.open()));
    let blocks = span(0, 2);
    let error = find_place(
        &*subnet.chain,
        hotkey,
        SUBNET,
        blocks,
        64,
        Device::Cuda,
        model,
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("CUDA (kernel cuda)"), "{error}");
}

#[test]
fn a_worker_sends_activations_as_the_creator_chose_and_no_other_type() {
    let mut manifest = TinyFiles::new(1).manifest();
    let mut found = |types: &[DType]| {
        let profiles = types.iter().map(|activations| NumericProfile {
            activations: *activations,
            ..flex_profile()
        });
        manifest.profiles = profiles.collect::<Vec<_>>().try_into().unwrap();
        manifest.validate().unwrap();
        profile(&manifest, Device::Cpu).map(|profile| profile.activations)
    };
    for sent in [DType::F32, DType::F16, DType::Bf16] {
        assert_eq!(found(&[sent]), Some(sent));
    }
    // The chain takes a type that is never sent; nobody serves it.
    for never in [DType::Q8_0, DType::Q4_0, DType::Q4_1, DType::Mixed] {
        assert_eq!(found(&[never]), None);
        assert_eq!(found(&[never, DType::F16]), Some(DType::F16));
    }
}

#[tokio::test]
async fn without_a_span_a_worker_fills_the_gap_and_keeps_its_seat() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let plenty = Blocks::Fit { memory: 1 << 40 };
    let found = place(&subnet, FIRST.hotkey, SUBNET, plenty).await.unwrap();
    assert_eq!(found.span, FIRST.span);
    // With a seat, the seat.
    let found = place(&subnet, SECOND.hotkey, SUBNET, plenty).await.unwrap();
    assert_eq!(found.span, SECOND.span);
    // One block at a time.
    let config = subnet.files.open().config().clone();
    let block = config.block_parameters() as u64 * 4;
    let cache = config.kv_bytes_per_token_and_block() as u64 * 64;
    let little = Blocks::Fit {
        memory: MEMORY_RESERVE + block + cache,
    };
    let found = place(&subnet, FIRST.hotkey, SUBNET, little).await.unwrap();
    assert_eq!(found.span, Span { start: 0, end: 1 });
}

#[tokio::test]
async fn a_peer_key_that_is_not_the_registered_one_is_named() {
    let subnet = Subnet::new();
    let own = Keypair::generate_ed25519().public().to_peer_id();
    let mut node = subnet
        .chain
        .node_of_hotkey(key(FIRST.hotkey).public())
        .await
        .unwrap()
        .unwrap();
    let error = check_peer(&node, &own, Path::new("base/peer.key")).unwrap_err();
    assert!(error.to_string().contains(&own.to_string()), "{error}");
    node.peer_id = own.to_bytes().try_into().unwrap();
    check_peer(&node, &own, Path::new("base/peer.key")).unwrap();
}

#[tokio::test]
async fn a_node_that_was_removed_gets_no_seat() {
    let subnet = Subnet::new();
    let taken = take_seat(
        &*subnet.chain,
        &key(99),
        FIRST.span,
        PRICE,
        flex_profile().digest(),
    )
    .await;
    assert!(matches!(taken, Err(WorkerError::Removed(_))));
    let foreign = take_seat(
        &*subnet.chain,
        &key(FIRST.hotkey),
        FIRST.span,
        PRICE,
        [9; 32],
    )
    .await;
    let error = foreign.unwrap_err();
    assert!(error.to_string().contains("ProfileNotAccepted"), "{error}");
}

/// A chain whose final state lags behind: the first look at the node shows it without its seat.
struct Lagging(Arc<quipu_testkit::FakeChain>, std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl Chain for Lagging {
    fn genesis(&self) -> Digest {
        self.0.genesis()
    }
    async fn subnet(&self, id: SubnetId) -> Result<Option<SubnetInfo<AccountBytes>>, ChainError> {
        self.0.subnet(id).await
    }
    async fn roster(&self, id: SubnetId) -> Result<Vec<NodeInfo<AccountBytes>>, ChainError> {
        self.0.roster(id).await
    }
    async fn node_of_hotkey(
        &self,
        hotkey: AccountBytes,
    ) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        let mut node = self.0.node_of_hotkey(hotkey).await?;
        if !self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
            node.as_mut().unwrap().seat = None;
        }
        Ok(node)
    }
    async fn session(
        &self,
        id: u64,
    ) -> Result<Option<quipu_primitives::views::SessionInfo<AccountBytes>>, ChainError> {
        self.0.session(id).await
    }
    async fn job(
        &self,
        id: u64,
    ) -> Result<Option<quipu_primitives::views::JobInfo<AccountBytes>>, ChainError> {
        self.0.job(id).await
    }
    async fn open_jobs(&self, node: u32) -> Result<Vec<u64>, ChainError> {
        self.0.open_jobs(node).await
    }
    async fn hotkeys_of(&self, node: u32) -> Result<Vec<AccountBytes>, ChainError> {
        self.0.hotkeys_of(node).await
    }
    async fn audit(
        &self,
        subject: quipu_primitives::audit::Subject,
    ) -> Result<Option<quipu_primitives::views::AuditInfo<AccountBytes>>, ChainError> {
        self.0.audit(subject).await
    }
    async fn audits_of(
        &self,
        node: u32,
    ) -> Result<Vec<quipu_primitives::views::AuditInfo<AccountBytes>>, ChainError> {
        self.0.audits_of(node).await
    }
    async fn quote(
        &self,
        subnet: SubnetId,
        positions: u32,
    ) -> Result<
        Result<quipu_primitives::views::Quote, quipu_primitives::views::QuoteError>,
        ChainError,
    > {
        self.0.quote(subnet, positions).await
    }
    async fn free_balance(&self, account: AccountBytes) -> Result<Balance, ChainError> {
        self.0.free_balance(account).await
    }
    async fn finalized(&self) -> Result<u32, ChainError> {
        self.0.finalized().await
    }
    async fn events(&self) -> Result<futures::stream::BoxStream<'static, ChainEvent>, ChainError> {
        let events = self.0.events().await;
        self.0.advance(1);
        events
    }
    async fn submit(
        &self,
        signer: &dyn Signer,
        call: Call,
    ) -> Result<quipu_worker_core::ports::Included, ChainError> {
        self.0.submit(signer, call).await
    }
    async fn submit_final(
        &self,
        signer: &dyn Signer,
        call: Call,
    ) -> Result<quipu_worker_core::ports::Included, ChainError> {
        self.0.submit_final(signer, call).await
    }
}

#[tokio::test]
async fn a_seat_that_is_not_final_yet_is_waited_for() {
    let subnet = Subnet::new();
    subnet.seat(FIRST);
    let chain = Lagging(subnet.chain.clone(), Default::default());
    let profile = flex_profile().digest();
    take_seat(&chain, &key(FIRST.hotkey), FIRST.span, PRICE, profile)
        .await
        .unwrap();
    let joins = subnet.chain.calls();
    let joins = joins
        .iter()
        .filter(|(_, call)| matches!(call, Call::Join { .. }))
        .count();
    assert_eq!(joins, 2, "one by the test, and one that was refused");
}
