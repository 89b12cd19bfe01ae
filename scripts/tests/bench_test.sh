#!/usr/bin/env bash
# scripts/bench: its options, and what its Python part computes.
# shellcheck disable=SC2031 # the harness sets SCRATCH for each test
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

run_tests
