# shellcheck shell=bash
# Builds of the runtime with features that no node has. Needs scripts/env and common.sh.

# They lie in a folder of their own: the wasm with and without such a feature has the same path, and a node
# built after it would embed the wrong one.
FEATURES_TARGET="$QUIPU_CACHE/features/target"

# runtime_cargo FEATURE COMMAND ARGUMENT…: cargo on the runtime and its pallets with the feature turned on.
runtime_cargo() {
    local feature=$1 command=$2
    shift 2
    CARGO_TARGET_DIR="$FEATURES_TARGET" cargo "$command" --locked -p quipu-runtime -p quipu-pallet-subnets \
        -p quipu-pallet-audits -p quipu-pallet-staking -p quipu-pallet-slashing -p quipu-pallet-inference \
        --features "quipu-runtime/$feature" "$@"
}

# The wasm that the last build with a feature made.
features_wasm() {
    echo "$FEATURES_TARGET/debug/wbuild/quipu-runtime/quipu_runtime.wasm"
}
