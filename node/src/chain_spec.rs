//! Which chains the node knows by name.

use quipu_runtime::{genesis, opaque::Block, WASM_BINARY};
use sc_chain_spec::{ChainSpecExtension, ChainType, Properties};
use serde::{Deserialize, Serialize};

/// What a chain specification says beyond the usual.
#[derive(Default, Clone, Debug, Serialize, Deserialize, ChainSpecExtension)]
#[serde(rename_all = "camelCase")]
pub struct Extensions {
    /// Blocks with known hashes.
    pub fork_blocks: sc_client_api::ForkBlocks<Block>,
    /// Hashes of blocks that are known to be bad.
    pub bad_blocks: sc_client_api::BadBlocks<Block>,
    /// Where a light client may start from, filled in by the `sync_state_genSyncSpec` RPC.
    pub light_sync_state: sc_sync_state_rpc::LightSyncStateExtension,
}

/// The chain specification of a Quipu chain.
pub type ChainSpec = sc_chain_spec::GenericChainSpec<Extensions>;

/// A chain that the node knows by name: one of the runtime's presets.
struct Known {
    name: &'static str,
    id: &'static str,
    preset: &'static str,
    kind: ChainType,
}

/// The specification behind a value of `--chain`: a name, or the path of a JSON file.
///
/// Names are `dev`, `dev-fast`, `local` (also what an empty name means) and `local-fast`.
pub fn load(id: &str) -> Result<ChainSpec, String> {
    let known = match id {
        "dev" => Known {
            name: "Quipu Development",
            id: "quipu_dev",
            preset: genesis::DEVELOPMENT,
            kind: ChainType::Development,
        },
        "dev-fast" => Known {
            name: "Quipu Development (fast)",
            id: "quipu_dev_fast",
            preset: genesis::DEVELOPMENT_FAST,
            kind: ChainType::Development,
        },
        "" | "local" => Known {
            name: "Quipu Local",
            id: "quipu_local",
            preset: genesis::LOCAL,
            kind: ChainType::Local,
        },
        "local-fast" => Known {
            name: "Quipu Local (fast)",
            id: "quipu_local_fast",
            preset: genesis::LOCAL_FAST,
            kind: ChainType::Local,
        },
        path => {
            return ChainSpec::from_json_file(path.into()).map_err(|error| {
                format!(
                    "`{path}` is neither a chain's name (dev, dev-fast, local, local-fast) nor a \
                     readable specification: {error}"
                )
            })
        }
    };
    known.spec()
}

impl Known {
    fn spec(self) -> Result<ChainSpec, String> {
        let code = WASM_BINARY.ok_or(
            "this binary was built without a runtime (SKIP_WASM_BUILD was set): use the path of \
             a specification, or build again without it",
        )?;
        // The preset of the runtime that is linked in: asking the wasm would mean to compile it.
        let patch = genesis::preset(&self.preset.into())
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| format!("the runtime has no preset `{}`", self.preset))?;
        Ok(ChainSpec::builder(code, Extensions::default())
            .with_name(self.name)
            .with_id(self.id)
            .with_protocol_id(self.id)
            .with_chain_type(self.kind)
            .with_properties(properties())
            .with_genesis_config_patch(patch)
            .build())
    }
}

/// How wallets show amounts and addresses.
fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.insert("tokenSymbol".into(), "QPU".into());
    properties.insert("tokenDecimals".into(), 12.into());
    properties.insert("ss58Format".into(), 42.into());
    properties
}
