# shellcheck shell=bash
# What the scripts share: saying what happens, failing, asking for rights. Sourced, changes nothing.

# The cache folder of this user, as scripts/env exports it.
QUIPU_CACHE="${QUIPU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quipu}"

# A heading on standard error, so that standard output stays free for results.
say() { printf '==> %s\n' "$*" >&2; }

# A detail under a heading.
note() { printf '    %s\n' "$*" >&2; }

# Says why and ends the script. Further arguments are lines that say what to do.
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, by sudo where needed.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "root rights are needed for: $*" "Run scripts/setup as root, or install sudo."
    fi
}

# holds_digest FILE SHA256: whether the file is there, whole and the right one.
holds_digest() {
    [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]
}

# One setup at a time per cache folder; a second one waits for the first.
lock_cache() {
    mkdir -p "$QUIPU_CACHE"
    have flock || return 0
    exec 9>"$QUIPU_CACHE/setup.lock"
    if ! flock -n 9; then
        say "Another setup is running, waiting for it"
        flock 9
    fi
}

unlock_cache() { exec 9>&-; }
