#!/usr/bin/env bash
# The stages of scripts/test and its checks.
# shellcheck disable=SC2016,SC2031,SC2088,SC2034,SC2317 # tests set what the sourced files read
set -euo pipefail

QUIPU_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/tests/harness.sh
. "$QUIPU_ROOT/scripts/tests/harness.sh"
for lib in common stages checks; do
    # shellcheck source=/dev/null
    . "$QUIPU_ROOT/scripts/lib/$lib.sh"
done

# fails COMMAND…
fails() { ! "$@"; }

test_a_stage_that_fails_in_the_middle_has_failed() {
    middle() {
        false
        echo reached >"$SCRATCH/reached"
    }
    stage middle middle
    expect "the rest not run" [ ! -e "$SCRATCH/reached" ]
    expect "seen" fails last_stage_passed
    expect "the whole failed" fails stages_passed
}

test_a_stage_that_fails_in_a_pipe_has_failed() {
    piped() {
        false | cat
        true
    }
    stage piped piped
    expect "seen" fails last_stage_passed
}

test_a_stage_that_dies_does_not_end_the_others() {
    stage dies die "on purpose"
    stage lives true
    expect "the second passed" last_stage_passed
    expect "the whole failed" fails stages_passed
}

test_the_table_names_every_stage_and_how_it_ended() {
    stage good true
    stage bad false
    stage_left_out absent "not here"
    local table
    table=$(stage_table)
    expect "good" [ "$(grep -cE '^good +[0-9]+  ok$' <<<"$table")" = 1 ]
    expect "bad" [ "$(grep -cE '^bad +[0-9]+  FAILED \(1\)$' <<<"$table")" = 1 ]
    expect "left out" contains "$table" "left out: not here"
    expect "a total" [ "$(grep -cE '^total +[0-9]+$' <<<"$table")" = 1 ]
}

test_stages_that_are_left_out_do_not_fail() {
    stage good true
    stage_left_out absent "not here"
    stages_passed
}

test_paths_of_one_machine_are_found() {
    local path file="$SCRATCH/file"
    # In pieces, so that this file does not match.
    for path in /ro''ot/x '"/ho''me/ann/x"' 'a=/Us''ers/Ann/x' '(/wo''rk/x)' '/ho''me/bob/'; do
        echo "${path//\'\'/}" >"$file"
        expect "$path found" fails check_paths "$file"
    done
}

test_other_paths_are_let_be() {
    printf '%s\n' '~/.cache/quipu' '$HOME/x' '/usr/bin/rustc' 'tests/work/x' '$ROOT/root/x' \
        'https://example.org/home/' 'framework/' >"$SCRATCH/file"
    check_paths "$SCRATCH/file"
}

test_warnings_of_our_crates_are_errors() {
    local line
    for line in 'warning: `quipu-node` (bin "quipu-node") generated 2 warnings' \
        'warning: `quipu-engine` (lib test) generated 1 warning (1 duplicate)' \
        'warning: node/Cargo.toml: unused manifest key: package.lisense'; do
        printf '   Compiling quipu-node v0.1.0\n%s\n    Finished\n' "$line" >"$SCRATCH/log"
        expect "refused: $line" fails check_warnings "$SCRATCH/log"
    done
}

test_warnings_that_are_not_ours_are_not() {
    printf '%s\n' 'warning: spurious network error (3 tries remaining)' \
        'warning: the following packages contain code that will be rejected by a future version of Rust' \
        'warning: `other-crate` (lib) generated 2 warnings' '    Finished' >"$SCRATCH/log"
    check_warnings "$SCRATCH/log"
}

test_what_is_compiled_a_second_time_is_found() {
    printf '%s\n' '       Fresh bytes v1.0.0' '   Compiling tokio v1.54.1' \
        '       Dirty quipu-engine v0.1.0 (/x): the file `lib.rs` has changed' \
        '   Compiling quipu-engine v0.1.0 (/x)' >"$SCRATCH/log"
    expect "refused" fails check_built_once "$SCRATCH/log"
    expect "tokio alone" equal "$(check_built_once "$SCRATCH/log")" \
        $'compiled a second time:\ntokio v1.54.1'
}

test_what_was_edited_is_not_compiled_a_second_time() {
    printf '%s\n' '       Fresh bytes v1.0.0' \
        '       Dirty quipu-engine v0.1.0 (/x): the file `lib.rs` has changed' \
        '   Compiling quipu-engine v0.1.0 (/x)' '    Finished `dev` profile' >"$SCRATCH/log"
    check_built_once "$SCRATCH/log"
}

test_the_last_summary_is_found() {
    printf '%s\n' '     Summary [   1.0s] 2 tests run: 1 passed, 1 failed, 0 skipped' 'x' \
        $'\e[32m     Summary\e[0m [   2.0s] 3 tests run: 3 passed, 0 skipped' 'y' >"$SCRATCH/log"
    expect "the last" equal "$(nextest_summary "$SCRATCH/log")" \
        "     Summary [   2.0s] 3 tests run: 3 passed, 0 skipped"
}

run_tests
