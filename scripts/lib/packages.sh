# shellcheck shell=bash
# System packages, by apt-get. Needs common.sh.

# Debian package, then how to see that what it brings is there: a command, or a function below.
SYSTEM_PACKAGES=(
    "build-essential:has_compiler"
    "ca-certificates:has_certificates"
    "clang:clang"
    "cmake:cmake"
    "curl:curl"
    "git:git"
    "jq:jq"
    "libclang-dev:has_libclang"
    "libssl-dev:has_openssl"
    "lld:ld.lld"
    "pkg-config:pkg-config"
    "protobuf-compiler:protoc"
    "python3:python3"
    "python3-pip:has_pip"
    "unzip:unzip"
    "nodejs:node"
    "npm:npm"
)

has_compiler() { have cc && have c++ && have make; }
has_certificates() { [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/ssl/cert.pem ]; }
has_pip() { python3 -m pip --version >/dev/null 2>&1; }
has_openssl() { pkg-config --exists openssl 2>/dev/null; }
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib*/llvm*/lib*/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib*/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib/*/libclang*.so*' >/dev/null
}

# The names of the packages whose contents are missing, one per line.
packages_missing() {
    local entry
    for entry in "${SYSTEM_PACKAGES[@]}"; do
        if declare -F "${entry#*:}" >/dev/null; then
            "${entry#*:}" || echo "${entry%%:*}"
        else
            have "${entry#*:}" || echo "${entry%%:*}"
        fi
    done
}

# Fetches the package lists, once per run.
packages_refresh() {
    [ -z "${PACKAGES_FRESH:-}" ] || return 0
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update >&2 ||
        note "The package lists could not all be refreshed; trying with what is there."
    PACKAGES_FRESH=yes
}

# packages_install NAME…: installs, never removes something else for it.
packages_install() {
    have apt-get || die "missing: $*" \
        "There is no apt-get here, so install these (Debian's names) by hand and run this again."
    packages_refresh
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        --no-install-recommends --no-remove install "$@" >&2 ||
        die "apt-get could not install: $*" \
            "See its output above. Nothing that is installed is removed to make room, so a package" \
            "that conflicts with one of these has to be removed by hand."
}

# The step of scripts/setup.
packages_step() {
    local missing
    mapfile -t missing < <(packages_missing)
    if [ "${#missing[@]}" = 0 ]; then
        note "all there"
        return
    fi
    note "installing ${missing[*]}"
    packages_install "${missing[@]}"
    mapfile -t missing < <(packages_missing)
    [ "${#missing[@]}" = 0 ] || die "installed, but still not usable: ${missing[*]}"
}
