#!/usr/bin/env bash
# How scripts/setup chooses and checks a toolchain: with stand-ins for rustup and Debian's tools, so
# that nothing is installed; and once for real with each toolchain that the machine has.
# shellcheck disable=SC2031,SC2034,SC2123,SC2317 # tests set what the sourced files read
set -euo pipefail

QUIPU_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/tests/harness.sh
. "$QUIPU_ROOT/scripts/tests/harness.sh"
REAL_PATH=$PATH

# stage RUSTUP: a machine made of stand-ins. RUSTUP says what its rustup does: `absent`; `ready` (has
# the target); `adds`, `fails`, `hangs` (asked for the target); `installs` (lacks even the toolchain).
stage() {
    local tool
    mkdir -p "$SCRATCH/core" "$SCRATCH/debian" "$SCRATCH/rustup" "$SCRATCH/cache"
    for tool in awk basename bash cat cut dirname env find grep head id ln mkdir mktemp readlink rm sed \
        sleep sort timeout touch tr; do
        ln -s "$(PATH=$REAL_PATH type -P "$tool")" "$SCRATCH/core/$tool"
    done
    for tool in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        printf '#!/bin/sh\nexit 0\n' >"$SCRATCH/debian/$tool"
        chmod +x "$SCRATCH/debian/$tool"
        cp "$SCRATCH/debian/$tool" "$SCRATCH/rustup/$tool"
    done
    [ "$1" = absent ] || fake_rustup "$1"
    PATH=$SCRATCH/core
    QUIPU_CACHE=$SCRATCH/cache
    unset QUIPU_TOOLCHAIN
    DEBIAN_BIN=$SCRATCH/debian
    RUSTUP_TARGET_TIMEOUT=1
    RUSTUP_INSTALL_TIMEOUT=1
    local lib
    for lib in common packages toolchain; do
        # shellcheck source=/dev/null
        . "$QUIPU_ROOT/scripts/lib/$lib.sh"
    done
}

fake_rustup() {
    [ "$1" = installs ] || touch "$SCRATCH/has-toolchain"
    [ "$1" != ready ] || touch "$SCRATCH/has-target"
    cat >"$SCRATCH/core/rustup" <<STUB
#!$SCRATCH/core/bash
echo "\$*" >>"$SCRATCH/calls"
case "\$1 \$2" in
    "which --toolchain")
        [ -e "$SCRATCH/has-toolchain" ] && [ -e "$SCRATCH/rustup/\$4" ] || exit 1
        echo "$SCRATCH/rustup/\$4" ;;
    "target list")
        echo x86_64-unknown-linux-gnu
        [ ! -e "$SCRATCH/has-target" ] || echo wasm32v1-none ;;
    "target add" | "toolchain install")
        case $1 in
            adds | installs) touch "$SCRATCH/has-toolchain" "$SCRATCH/has-target" ;;
            hangs) exec sleep 60 ;;
            *) echo "could not download" >&2; exit 1 ;;
        esac ;;
    *) echo "unexpected: \$*" >&2; exit 64 ;;
esac
STUB
    chmod +x "$SCRATCH/core/rustup"
}

# A stand-in compiler that cannot build for wasm.
break_rustc() { printf '#!/bin/sh\nexit 1\n' >"$1/rustc"; }

test_rustup_with_the_target_is_taken_and_asked_for_nothing() {
    stage ready
    expect "rustup" equal "$(toolchain_decide)" rustup
    expect "no download" equal "$(grep -cE 'add|install [^-]' "$SCRATCH/calls" || true)" 0
}

test_rustup_that_can_add_the_target_is_taken() {
    stage adds
    expect "rustup" equal "$(toolchain_decide 2>/dev/null)" rustup
    expect "the pinned version" contains "$(cat "$SCRATCH/calls")" \
        "target add wasm32v1-none --toolchain $(pinned_rust)"
}

test_rustup_without_the_pinned_toolchain_installs_it() {
    stage installs
    expect "rustup" equal "$(toolchain_decide 2>/dev/null)" rustup
    expect "an installation with target" contains "$(cat "$SCRATCH/calls")" \
        "toolchain install $(pinned_rust) --no-self-update --profile minimal"
}

test_rustup_that_cannot_download_gives_way_to_debian() {
    stage fails
    expect "debian" equal "$(toolchain_decide 2>/dev/null)" debian
}

test_rustup_that_hangs_gives_way_to_debian_in_time() {
    stage hangs
    local before=$SECONDS
    expect "debian" equal "$(toolchain_decide 2>/dev/null)" debian
    expect "within seconds" [ $((SECONDS - before)) -lt 20 ]
}

test_without_rustup_debian_is_taken() {
    stage absent
    expect "debian" equal "$(toolchain_decide 2>/dev/null)" debian
}

test_a_working_choice_is_kept_although_rustup_became_able() {
    stage ready
    toolchain_link debian
    expect "debian, as before" equal "$(toolchain_decide)" debian
    expect "rustup not even asked" [ ! -e "$SCRATCH/calls" ]
}

test_a_choice_that_broke_is_made_again() {
    stage ready
    toolchain_link debian
    break_rustc "$SCRATCH/debian"
    expect "rustup" equal "$(toolchain_decide)" rustup
}

test_a_link_into_nowhere_is_no_choice() {
    stage absent
    mkdir -p "$(toolchain_bin)"
    ln -s "$SCRATCH/gone/rustc" "$(toolchain_bin)/rustc"
    expect "debian" equal "$(toolchain_decide 2>/dev/null)" debian
}

test_the_user_has_the_last_word() {
    stage ready
    export QUIPU_TOOLCHAIN=debian
    expect "debian" equal "$(toolchain_decide)" debian
    toolchain_link debian
    QUIPU_TOOLCHAIN=rustup
    expect "rustup" equal "$(toolchain_decide)" rustup
}

test_a_forced_rustup_that_is_absent_is_an_error() {
    stage absent
    export QUIPU_TOOLCHAIN=rustup
    refuses toolchain_decide
    expect "that names the way out" contains "$(cat "$SCRATCH/said")" QUIPU_TOOLCHAIN=debian
}

test_a_forced_rustup_that_cannot_download_is_an_error() {
    stage fails
    export QUIPU_TOOLCHAIN=rustup
    refuses toolchain_decide
    expect "that names the target" contains "$(cat "$SCRATCH/said")" wasm32v1-none
}

test_an_unknown_way_is_an_error() {
    stage ready
    export QUIPU_TOOLCHAIN=nix
    refuses toolchain_decide
    expect "that lists the ways" contains "$(cat "$SCRATCH/said")" "rustup, debian or auto"
}

test_links_follow_the_choice_and_are_not_touched_without_need() {
    stage ready
    toolchain_link debian
    expect "Debian's" equal "$(readlink "$(toolchain_bin)/cargo")" "$SCRATCH/debian/cargo"
    local before
    before=$(find "$(toolchain_bin)/rustc" -printf '%C@ %i')
    toolchain_link debian
    expect "the same link" equal "$(find "$(toolchain_bin)/rustc" -printf '%C@ %i')" "$before"
    toolchain_link rustup
    expect "rustup's" equal "$(readlink "$(toolchain_bin)/cargo")" "$SCRATCH/rustup/cargo"
    expect "remembered" equal "$(toolchain_current)" rustup
}

test_a_tool_that_is_missing_leaves_no_link_of_the_other_way() {
    stage ready
    toolchain_link debian
    rm "$SCRATCH/rustup/clippy-driver"
    toolchain_link rustup
    expect "no clippy" [ ! -e "$(toolchain_bin)/clippy-driver" ]
    rm "$SCRATCH/rustup/cargo"
    refuses toolchain_link rustup
}

test_debians_library_is_compiled_only_when_it_does_not_link() {
    stage absent
    debian_install() { :; }
    debian_build_std() { echo built >>"$SCRATCH/builds"; }
    debian_prepare 2>/dev/null
    expect "nothing compiled" [ ! -e "$SCRATCH/builds" ]
    break_rustc "$SCRATCH/debian"
    debian_build_std() {
        echo built >>"$SCRATCH/builds"
        printf '#!/bin/sh\nexit 0\n' >"$SCRATCH/debian/rustc"
    }
    debian_prepare 2>/dev/null
    expect "compiled once" equal "$(grep -c built "$SCRATCH/builds")" 1
    break_rustc "$SCRATCH/debian"
    debian_build_std() { :; }
    refuses debian_prepare
}

test_a_compiler_that_is_too_old_is_an_error() {
    stage absent
    local version
    for version in 1.85.0 1.9.0 1.85.0+dfsg3-1~deb12u3 "(none)" ""; do
        refuses debian_require_version "the archive offers" "$version"
        expect "the way out" contains "$(cat "$SCRATCH/said")" "security updates"
    done
    for version in 1.95.0 1.96.0+dfsg1-1~deb12u2 1.100.0 2.0.0; do
        debian_require_version "installed is" "$version"
    done
}

test_missing_packages_are_named_where_there_is_no_apt() {
    stage absent
    expect "what is missing is seen" contains "$(packages_missing)" protobuf-compiler
    refuses packages_step
    expect "that names it" contains "$(cat "$SCRATCH/said")" protobuf-compiler
}

test_nothing_is_installed_where_all_is_there() {
    stage absent
    packages_missing() { :; }
    packages_install() { touch "$SCRATCH/installed"; }
    packages_step 2>/dev/null
    expect "no installation" [ ! -e "$SCRATCH/installed" ]
}

test_this_machines_debian_toolchain_links_wasm() {
    stage absent
    PATH=$REAL_PATH
    [ -x /usr/bin/rustc ] || skip "no Debian toolchain"
    [ -e "$(/usr/bin/rustc --print target-libdir --target wasm32v1-none)" ] ||
        skip "Debian's toolchain has no wasm library yet"
    QUIPU_VERBOSE=1 toolchain_probe /usr/bin/rustc
}

test_this_machines_rustup_toolchain_links_wasm() {
    stage absent
    PATH=$REAL_PATH
    have rustup || skip "no rustup"
    rustup_has_target || skip "rustup's toolchain lacks the target"
    toolchain_link rustup
    QUIPU_VERBOSE=1 toolchain_probe "$(toolchain_bin)/rustc"
    expect "the pinned version through the links" contains "$("$(toolchain_bin)/rustc" --version)" \
        "$(pinned_rust)"
}

test_a_compiler_without_the_target_fails_the_probe() {
    stage absent
    PATH=$REAL_PATH
    local rustc
    rustc=$(type -P rustc) || skip "no rustc"
    WASM_TARGET=wasm32-no-such-target
    ! toolchain_probe "$rustc"
}

run_tests
