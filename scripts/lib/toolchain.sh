# shellcheck shell=bash
# A Rust toolchain that can compile the runtime to wasm: by rustup where it has the target or can get
# it, else Debian's own. Needs common.sh and packages.sh.
#
# Either way the result is the same: $QUIPU_CACHE/toolchain/bin holds links to its tools and goes
# first on PATH. The links are also the memory of what was chosen: a choice that still works is kept,
# because changing the compiler means building everything again.

WASM_TARGET=wasm32v1-none
TOOLCHAIN_TOOLS=(cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver)

# Seconds that rustup may take to add a target, and to fetch a whole toolchain.
RUSTUP_TARGET_TIMEOUT="${RUSTUP_TARGET_TIMEOUT:-120}"
RUSTUP_INSTALL_TIMEOUT="${RUSTUP_INSTALL_TIMEOUT:-900}"

# Where Debian's packages put the tools.
DEBIAN_BIN="${DEBIAN_BIN:-/usr/bin}"

toolchain_bin() { echo "$QUIPU_CACHE/toolchain/bin"; }

# The version that rust-toolchain.toml pins.
pinned_rust() { sed -n 's/^channel = "\(.*\)"$/\1/p' "$QUIPU_ROOT/rust-toolchain.toml"; }

# toolchain_probe RUSTC: whether it builds a linked, link-time optimised wasm module from core and
# alloc, which is what the runtime needs. A library of another compiler, a missing linker and a library
# without embedded bitcode all fail here, in half a second instead of after the whole build.
toolchain_probe() {
    local folder status=0
    folder=$(mktemp -d)
    cat >"$folder/probe.rs" <<'RUST'
#![no_std]
extern crate alloc;
use core::alloc::{GlobalAlloc, Layout};
struct Never;
unsafe impl GlobalAlloc for Never {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 { core::ptr::null_mut() }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
#[global_allocator]
static NEVER: Never = Never;
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
#[no_mangle]
pub extern "C" fn probe(n: usize) -> usize { alloc::vec![1u8; n].len() }
RUST
    "$1" --edition 2021 --crate-type cdylib --target "$WASM_TARGET" -Cpanic=abort -Copt-level=1 \
        -Clto=fat -o "$folder/probe.wasm" "$folder/probe.rs" >"$folder/log" 2>&1 || status=1
    [ "$status" = 0 ] || [ -z "${QUIPU_VERBOSE:-}" ] || cat "$folder/log" >&2
    rm -rf "$folder"
    return "$status"
}

# What the links point to now: rustup, debian, or nothing when there are none.
toolchain_current() {
    local target
    target=$(readlink "$(toolchain_bin)/rustc" 2>/dev/null) || return 0
    case "$target" in
        "$DEBIAN_BIN"/rustc) echo debian ;;
        *) echo rustup ;;
    esac
}

# --- rustup -----------------------------------------------------------------------------------------

rustup_has_toolchain() {
    RUSTUP_AUTO_INSTALL=0 rustup which --toolchain "$(pinned_rust)" rustc >/dev/null 2>&1
}

rustup_has_target() {
    rustup_has_toolchain && RUSTUP_AUTO_INSTALL=0 rustup target list --installed \
        --toolchain "$(pinned_rust)" 2>/dev/null | grep -qx "$WASM_TARGET"
}

# Gets the pinned toolchain with the target. Bounded in time, for machines whose network swallows
# packets instead of refusing them.
rustup_add() {
    local version
    version=$(pinned_rust)
    if rustup_has_toolchain; then
        note "adding $WASM_TARGET to Rust $version by rustup"
        timeout "$RUSTUP_TARGET_TIMEOUT" \
            rustup target add "$WASM_TARGET" --toolchain "$version" >&2
    else
        note "installing Rust $version by rustup"
        timeout "$RUSTUP_INSTALL_TIMEOUT" rustup toolchain install "$version" --no-self-update \
            --profile minimal --component rustfmt --component clippy --target "$WASM_TARGET" >&2
    fi
}

# The path of one tool of the pinned toolchain; nothing when the toolchain lacks it.
rustup_tool() { RUSTUP_AUTO_INSTALL=0 rustup which --toolchain "$(pinned_rust)" "$1" 2>/dev/null; }

# --- Debian -----------------------------------------------------------------------------------------

DEBIAN_RUST_PACKAGES=(
    cargo-web rust-web-clippy rust-web-llvm rust-web-src rustc-web rustfmt-web
)

debian_package_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

debian_install() {
    local package missing=() linker
    have dpkg-query || die "Debian's toolchain needs a Debian-like system." \
        "Install rustup (https://rustup.rs) and run this again."
    for package in "${DEBIAN_RUST_PACKAGES[@]}"; do
        debian_package_installed "$package" || missing+=("$package")
    done
    if [ "${#missing[@]}" != 0 ]; then
        packages_refresh
        debian_require_version "the archive offers" \
            "$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: *//p')"
        note "installing ${missing[*]}"
        packages_install "${missing[@]}"
    fi
    # rust-lld is a link to the lld of the LLVM that rustc was built with; it has a package of its own.
    linker=$(basename "$(readlink "$DEBIAN_BIN/rust-lld")")
    if ! have "$linker"; then
        note "installing $linker"
        packages_install "$linker"
    fi
    debian_require_version "installed is" "$("$DEBIAN_BIN/rustc" --version | cut -d' ' -f2)"
}

# debian_require_version WHAT FOUND: ends the script unless the version is one that the workspace can be
# built with. A suite without its security updates holds an older one.
debian_require_version() {
    local wanted found=$2
    # apt says (none) for a package that it does not know.
    [[ "$found" == [0-9]* ]] || found=0
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$QUIPU_ROOT/Cargo.toml")
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ] ||
        die "Debian's Rust is too old: Quipu needs $wanted, $1 ${2:-(none)}." \
            "Enable the security updates of this Debian release in /etc/apt, they carry a newer one;" \
            "or install rustup (https://rustup.rs) where its server can be reached."
}

# Compiles core and alloc for wasm, once, with Debian's sources and compiler, into its library folder.
# Embedded bitcode is what the runtime's link-time optimisation needs.
debian_build_std() {
    local folder libraries
    note "compiling core and alloc for $WASM_TARGET (about a minute)"
    folder=$(mktemp -d)
    mkdir -p "$folder/src"
    echo '#![no_std]' >"$folder/src/lib.rs"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n' >"$folder/Cargo.toml"
    (
        cd "$folder"
        env -u RUSTC_WORKSPACE_WRAPPER -u RUSTC_WRAPPER -u CARGO_ENCODED_RUSTFLAGS \
            PATH="$DEBIAN_BIN:$PATH" CARGO_TARGET_DIR="$folder/target" RUSTC_BOOTSTRAP=1 \
            RUSTFLAGS=-Cembed-bitcode=yes "$DEBIAN_BIN/cargo" build --release \
            -Zbuild-std=core,alloc --target "$WASM_TARGET" >&2
    ) || die "core and alloc do not compile for $WASM_TARGET." \
        "See above; the sources come from the package rust-web-src."
    libraries=$("$DEBIAN_BIN/rustc" --print target-libdir --target "$WASM_TARGET")
    as_root mkdir -p "$libraries"
    as_root find "$libraries" -maxdepth 1 -name 'lib*.rlib' -delete
    as_root find "$folder/target/$WASM_TARGET/release/deps" -name 'lib*.rlib' \
        \( -name 'libcore-*' -o -name 'liballoc-*' -o -name 'libcompiler_builtins-*' \) \
        -exec cp -t "$libraries" {} +
    rm -rf "$folder"
    # Wasm that was compiled with the libraries before these does not link with them.
    rm -rf "${CARGO_TARGET_DIR:-$QUIPU_CACHE/target}"/*/wbuild
}

debian_prepare() {
    debian_install
    if toolchain_probe "$DEBIAN_BIN/rustc"; then
        note "core and alloc for $WASM_TARGET are there"
        return
    fi
    debian_build_std
    QUIPU_VERBOSE=1 toolchain_probe "$DEBIAN_BIN/rustc" ||
        die "Debian's rustc still cannot build for $WASM_TARGET; see above."
}

# --- Choice -----------------------------------------------------------------------------------------

# Prints rustup or debian. QUIPU_TOOLCHAIN settles it; else what is linked and still works stays, then
# rustup when it has the target or can get it, then Debian.
toolchain_decide() {
    local current
    case "${QUIPU_TOOLCHAIN:-auto}" in
        debian) echo debian ;;
        rustup)
            have rustup || die "QUIPU_TOOLCHAIN=rustup, but there is no rustup." \
                "Install it (https://rustup.rs), or set QUIPU_TOOLCHAIN=debian."
            rustup_has_target || rustup_add ||
                die "rustup has no $WASM_TARGET and could not get it." \
                    "Is its server reachable? QUIPU_TOOLCHAIN=debian needs only Debian's archive."
            echo rustup
            ;;
        auto)
            current=$(toolchain_current)
            if [ -n "$current" ] && toolchain_probe "$(toolchain_bin)/rustc"; then
                echo "$current"
            elif have rustup && { rustup_has_target || rustup_add; }; then
                echo rustup
            else
                if have rustup; then
                    note "rustup cannot get $WASM_TARGET here; taking Debian's toolchain"
                else
                    note "no rustup; taking Debian's toolchain"
                fi
                echo debian
            fi
            ;;
        *) die "QUIPU_TOOLCHAIN is '$QUIPU_TOOLCHAIN'; it may be rustup, debian or auto." ;;
    esac
}

# toolchain_link WAY: makes the folder of links.
toolchain_link() {
    local bin tool path
    bin=$(toolchain_bin)
    mkdir -p "$bin"
    for tool in "${TOOLCHAIN_TOOLS[@]}"; do
        case "$1" in
            rustup) path=$(rustup_tool "$tool") || path= ;;
            *) path="$DEBIAN_BIN/$tool" ;;
        esac
        if [ -n "$path" ] && [ -x "$path" ]; then
            # A link that is right is left alone: cargo looks at the compiler's time stamp.
            [ "$(readlink "$bin/$tool")" = "$path" ] || ln -sfn "$path" "$bin/$tool"
        else
            rm -f "${bin:?}/$tool"
        fi
    done
    if ! [ -x "$bin/cargo" ] || ! [ -x "$bin/rustc" ]; then
        die "the $1 toolchain has no cargo or no rustc."
    fi
}

# The step of scripts/setup.
toolchain_step() {
    local way
    way=$(toolchain_decide)
    [ "$way" != debian ] || debian_prepare
    toolchain_link "$way"
    [ "$way" = debian ] || QUIPU_VERBOSE=1 toolchain_probe "$(toolchain_bin)/rustc" ||
        die "Rust by rustup cannot build for $WASM_TARGET; see above." \
            "QUIPU_TOOLCHAIN=debian takes Debian's toolchain instead."
    note "$("$(toolchain_bin)/rustc" --version), by $way, with $WASM_TARGET"
}

# --- cargo-nextest ----------------------------------------------------------------------------------

# Compiled once into the cache where the machine has none.
nextest_step() {
    if cargo nextest --version >/dev/null 2>&1; then
        note "$(cargo nextest --version 2>/dev/null | head -n1)"
        return
    fi
    note "compiling cargo-nextest; this takes minutes, once"
    env -u RUSTC_WORKSPACE_WRAPPER -u CARGO_TARGET_DIR cargo install cargo-nextest --locked \
        --root "$QUIPU_CACHE/tools" >&2 ||
        die "cargo-nextest could not be installed; see above."
}
