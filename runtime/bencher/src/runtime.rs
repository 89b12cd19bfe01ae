//! The wasm of a runtime, and calls of its benchmarks on a state that starts from a genesis.

use anyhow::{anyhow, Context};
use codec::{Decode, Encode};
use frame_benchmarking::{BenchmarkBatch, BenchmarkList, BenchmarkParameter, BenchmarkResult};
use frame_support::traits::StorageInfo;
use sc_chain_spec::GenesisConfigBuilderRuntimeCaller;
use sc_client_db::BenchmarkingState;
use sc_executor::WasmExecutor;
use sp_core::{
    storage::Storage,
    traits::{CallContext, ReadRuntimeVersionExt, RuntimeCode, WrappedRuntimeCode},
};
use sp_externalities::Extensions;
use sp_keystore::{testing::MemoryKeystore, KeystoreExt};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::StateMachine;

/// What the wasm may call: what every node offers, and the counting and timing of benchmarks.
type HostFunctions = (sp_io::SubstrateHostFunctions, Counting);
type Counting = frame_benchmarking::benchmarking::HostFunctions;

/// What a benchmark runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A state that counts keys and records the proof.
    CountingState,
    /// A state that does neither, so that its times are those of a node.
    BareState,
}

/// One run of a benchmark.
#[derive(Debug)]
pub struct Run<'a> {
    /// The crate of the pallet.
    pub pallet: &'a str,
    /// The name of the pallet in the runtime.
    pub instance: &'a str,
    /// The name of the benchmark.
    pub benchmark: &'a str,
    /// A value for each component.
    pub components: &'a [(BenchmarkParameter, u32)],
    /// Run the benchmark's check of the result too?
    pub verify: bool,
    /// How many results to give.
    pub repeat: u32,
}

/// A runtime whose benchmarks can be called.
pub struct Runtime {
    code: Vec<u8>,
    hash: Vec<u8>,
    executor: WasmExecutor<HostFunctions>,
    counting: BenchmarkingState<BlakeTwo256>,
    bare: BenchmarkingState<BlakeTwo256>,
}

impl Runtime {
    /// Prepares the states from one of the runtime's genesis presets.
    pub fn new(code: Vec<u8>, preset: &str) -> anyhow::Result<Self> {
        let genesis = genesis(&code, preset)?;
        let state = |counts: bool| {
            BenchmarkingState::new(genesis.clone(), None, counts, counts)
                .map_err(|error| anyhow!("the state can't be made: {error}"))
        };
        Ok(Self {
            hash: sp_io::hashing::blake2_256(&code).to_vec(),
            counting: state(true)?,
            bare: state(false)?,
            executor: WasmExecutor::builder().build(),
            code,
        })
    }

    /// The benchmarks there are, and the storage items of all pallets.
    pub fn benchmarks(&self) -> anyhow::Result<(Vec<BenchmarkList>, Vec<StorageInfo>)> {
        self.call(On::BareState, "Benchmark_benchmark_metadata", &false)
            .context("was the runtime built with runtime-benchmarks?")
    }

    /// Runs a benchmark.
    pub fn run(&self, on: On, run: &Run<'_>) -> anyhow::Result<Vec<BenchmarkResult>> {
        let config = (
            run.pallet.as_bytes(),
            run.instance.as_bytes(),
            run.benchmark.as_bytes(),
            run.components,
            run.verify,
            run.repeat,
        );
        let batches: Result<Vec<BenchmarkBatch>, String> =
            self.call(on, "Benchmark_dispatch_benchmark", &config)?;
        let batches = batches.map_err(|error| anyhow!(error))?;
        Ok(batches
            .into_iter()
            .flat_map(|batch| batch.results)
            .collect())
    }

    /// Calls a function of the runtime. What it changes in the state is dropped.
    fn call<R: Decode>(&self, on: On, function: &str, input: &impl Encode) -> anyhow::Result<R> {
        let state = match on {
            On::CountingState => &self.counting,
            On::BareState => &self.bare,
        };
        let fetcher = WrappedRuntimeCode(self.code.as_slice().into());
        let code = RuntimeCode {
            code_fetcher: &fetcher,
            heap_pages: None,
            hash: self.hash.clone(),
        };
        let output = StateMachine::new(
            state,
            &mut Default::default(),
            &self.executor,
            function,
            &input.encode(),
            &mut self.extensions(),
            &code,
            CallContext::Offchain,
        )
        .execute()
        .map_err(|error| anyhow!("{function}: {error}"))?;
        R::decode(&mut output.as_slice())
            .with_context(|| format!("{function} answers with something else"))
    }

    /// What benchmarks use beside the state: keys to sign with, and the version of other wasm.
    fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::default();
        extensions.register(KeystoreExt::new(MemoryKeystore::new()));
        extensions.register(ReadRuntimeVersionExt::new(self.executor.clone()));
        extensions
    }
}

/// The state that a chain with this preset starts with.
fn genesis(code: &[u8], preset: &str) -> anyhow::Result<Storage> {
    let mut storage = GenesisConfigBuilderRuntimeCaller::<Counting>::new(code)
        .get_storage_for_named_preset(Some(&preset.to_owned()))
        .map_err(|error| anyhow!("the genesis {preset:?} can't be built: {error}"))?;
    storage.top.insert(
        sp_core::storage::well_known_keys::CODE.to_vec(),
        code.to_vec(),
    );
    Ok(storage)
}
