#!/usr/bin/env bash
# scripts/bench: its options, and what its Python part computes.
# shellcheck disable=SC2031,SC2317 # the harness sets SCRATCH for each test, and calls them by name
set -euo pipefail

QUIPU_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/tests/harness.sh
. "$QUIPU_ROOT/scripts/tests/harness.sh"

test_the_python_part() { python3 "$QUIPU_ROOT/scripts/tests/bench_test.py"; }

test_an_unknown_option_ends_it_with_the_usage() {
    local status=0
    "$QUIPU_ROOT/scripts/bench" --fast 2>"$SCRATCH/said" || status=$?
    expect "status 2" equal "$status" 2
    expect "the usage" contains "$(cat "$SCRATCH/said")" "usage: scripts/bench"
}

test_given_programs_have_to_be_there() {
    local status=0
    QUIPU_BIN=$SCRATCH "$QUIPU_ROOT/scripts/bench" 2>"$SCRATCH/said" || status=$?
    expect "status 1" equal "$status" 1
    expect "what is missing" contains "$(cat "$SCRATCH/said")" "programs are missing in $SCRATCH"
}

test_the_newest_bench_is_found_below_a_folder_with_a_dot() {
    # shellcheck source=scripts/lib/bench/prepare.sh
    . "$QUIPU_ROOT/scripts/lib/bench/prepare.sh"
    local QUIPU_BIN=$SCRATCH/.cache/debug
    mkdir -p "$QUIPU_BIN/deps"
    if bench_program matrix; then exit 1; fi
    touch -d 2020-01-02 "$QUIPU_BIN/deps/matrix-1f"
    touch -d 2020-01-01 "$QUIPU_BIN/deps/matrix-2f"
    touch "$QUIPU_BIN/deps/matrix-1f.d" "$QUIPU_BIN/deps/other-1f"
    chmod +x "$QUIPU_BIN"/deps/*
    expect "the newest" equal "$(bench_program matrix)" "$QUIPU_BIN/deps/matrix-1f"
}

test_expanded_weights_are_those_of_the_file() {
    # shellcheck source=/dev/null
    . "$QUIPU_ROOT/scripts/lib/common.sh"
    # shellcheck source=scripts/lib/bench/prepare.sh
    . "$QUIPU_ROOT/scripts/lib/bench/prepare.sh"
    has_room() { return 0; }
    convert() {
        mkdir -p "$3"
        cp "$2" "$3/model.safetensors"
        echo once >>"$SCRATCH/calls"
    }
    local text
    for text in one one two; do
        echo "$text" >"$SCRATCH/weights"
        prepare_hf convert "$SCRATCH/weights" "$SCRATCH/f32"
        expect "these weights" equal "$(cat "$SCRATCH/f32/model.safetensors")" "$text"
    done
    expect "as many conversions as files" equal "$(wc -l <"$SCRATCH/calls")" 2
}

run_tests
