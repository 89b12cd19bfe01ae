//! Builds the wasm of the runtime, unless `SKIP_WASM_BUILD` is set.

#[cfg(feature = "std")]
fn main() {
    // The wasm is built with the dependencies of the workspace's lock file, wherever the target
    // folder lies.
    if std::env::var_os("WASM_BUILD_WORKSPACE_HINT").is_none() {
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        std::env::set_var("WASM_BUILD_WORKSPACE_HINT", workspace);
    }
    // The native build is what lints look at; once is enough.
    std::env::remove_var("RUSTC_WORKSPACE_WRAPPER");

    let builder = substrate_wasm_builder::WasmBuilder::init_with_defaults();
    #[cfg(feature = "metadata-hash")]
    let builder = builder.enable_metadata_hash("QPU", 12);
    builder.build();
}

#[cfg(not(feature = "std"))]
fn main() {}
