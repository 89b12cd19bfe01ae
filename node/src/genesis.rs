//! Makes the genesis block, where the database has none yet.
//!
//! The SDK builds the genesis state at every start, with executors of its own that each compile the
//! runtime anew. Here it is built once in a database's life, and by the client's executor, which
//! needs the compiled runtime anyway.

use crate::service::FullBackend;
use codec::{Decode, Encode};
use quipu_runtime::opaque::Block;
use sc_chain_spec::{json_merge, BuildGenesisBlock, GenesisBlockBuilder};
use sc_client_api::{blockchain, Backend};
use sc_executor::RuntimeVersionOf;
use sc_service::ChainSpec;
use serde::Deserialize;
use serde_json::Value;
use sp_core::{
    storage::{well_known_keys, Storage},
    traits::{CallContext, CodeExecutor, RuntimeCode, WrappedRuntimeCode},
};
use sp_runtime::traits::{BlakeTwo256, Hash};
use sp_state_machine::BasicExternalities;
use std::sync::Arc;

/// Makes the genesis block of a specification.
pub struct Genesis<'a, E> {
    /// The specification.
    pub spec: &'a dyn ChainSpec,
    /// Whether the state is written, too; without, it is left to synchronisation.
    pub with_state: bool,
    /// Where it is written.
    pub backend: Arc<FullBackend>,
    /// What runs the runtime's genesis builder.
    pub executor: E,
}

impl<E: CodeExecutor + RuntimeVersionOf> BuildGenesisBlock<Block> for Genesis<'_, E> {
    type BlockImportOperation = <FullBackend as Backend<Block>>::BlockImportOperation;

    fn build_genesis_block(self) -> blockchain::Result<(Block, Self::BlockImportOperation)> {
        let storage = storage(self.spec, &self.executor).map_err(blockchain::Error::Storage)?;
        GenesisBlockBuilder::<Block, _, _>::new_with_storage(
            storage,
            self.with_state,
            self.backend,
            self.executor,
        )?
        .build_genesis_block()
    }
}

/// What a specification's JSON says of the genesis.
#[derive(Deserialize)]
struct Specification {
    genesis: Source,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    /// Missing where the specification holds the state itself.
    runtime_genesis: Option<RuntimeGenesis>,
}

/// A genesis that the runtime builds from a config.
#[derive(Deserialize)]
struct RuntimeGenesis {
    #[serde(with = "sp_core::bytes")]
    code: Vec<u8>,
    #[serde(flatten)]
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Config {
    /// The whole of it.
    Config(Value),
    /// What differs from the runtime's default.
    Patch(Value),
}

/// The state that a specification says.
fn storage(spec: &dyn ChainSpec, executor: &impl CodeExecutor) -> Result<Storage, String> {
    let json = spec.as_json(false)?;
    let Specification { genesis } = serde_json::from_str(&json)
        .map_err(|error| format!("the specification can't be read back: {error}"))?;
    let Some(RuntimeGenesis { code, config }) = genesis.runtime_genesis else {
        return spec.as_storage_builder().build_storage();
    };
    let runtime = Runtime {
        executor,
        code: &code,
    };
    let config = match config {
        Config::Config(config) => config,
        Config::Patch(patch) => {
            let mut config = runtime.default_config()?;
            json_merge(&mut config, patch);
            config
        }
    };
    let mut storage = runtime.build_state(&config)?;
    storage.top.insert(well_known_keys::CODE.to_vec(), code);
    Ok(storage)
}

/// The genesis builder API of a runtime.
struct Runtime<'a, E> {
    executor: &'a E,
    code: &'a [u8],
}

impl<E: CodeExecutor> Runtime<'_, E> {
    fn call<T: Decode>(
        &self,
        state: &mut BasicExternalities,
        method: &str,
        argument: impl Encode,
    ) -> Result<T, String> {
        let code = RuntimeCode {
            code_fetcher: &WrappedRuntimeCode(self.code.into()),
            heap_pages: None,
            // As the client hashes it later, so that the executor finds it compiled.
            hash: BlakeTwo256::hash(self.code).encode(),
        };
        let argument = argument.encode();
        let (result, _) =
            self.executor
                .call(state, &code, method, &argument, CallContext::Offchain);
        let output = result.map_err(|error| format!("{method}: {error}"))?;
        T::decode(&mut &output[..]).map_err(|error| format!("{method} gave other data: {error}"))
    }

    /// The config that a patch changes.
    fn default_config(&self) -> Result<Value, String> {
        let mut state = BasicExternalities::new_empty();
        let no_preset: Option<String> = None;
        let json: Option<Vec<u8>> =
            self.call(&mut state, "GenesisBuilder_get_preset", no_preset)?;
        let json = json.ok_or("the runtime has no default genesis config")?;
        serde_json::from_slice(&json)
            .map_err(|error| format!("the runtime's default genesis config is no JSON: {error}"))
    }

    /// The state of a config, the runtime's code left out.
    fn build_state(&self, config: &Value) -> Result<Storage, String> {
        let mut state = BasicExternalities::new_empty();
        let json = config.to_string();
        let built: Result<(), String> =
            self.call(&mut state, "GenesisBuilder_build_state", json)?;
        built.map_err(|error| format!("the runtime refuses the genesis config: {error}"))?;
        Ok(state.into_storages())
    }
}
