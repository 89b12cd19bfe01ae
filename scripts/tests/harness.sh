# shellcheck shell=bash
# Runs the functions of the sourcing script whose names start with `test_`, each in a subshell of its
# own with an empty folder $SCRATCH. A test fails by a false `expect`, or by any command that fails.
# `skip REASON` ends one whose means this machine lacks.

# expect WHAT CONDITION…: the condition is a command.
expect() {
    local what=$1
    shift
    "$@" || {
        printf '    expected: %s\n' "$what" >&2
        exit 1
    }
}

equal() {
    [ "$1" = "$2" ] || {
        printf '    found "%s" instead of "%s"\n' "$1" "$2" >&2
        return 1
    }
}

contains() {
    [[ "$1" == *"$2"* ]] || {
        printf '    "%s" is not in "%s"\n' "$2" "$1" >&2
        return 1
    }
}

# refuses COMMAND…: fails unless the command ends by `die`; what it said is left in $SCRATCH/said. Not
# for use inside a condition, which would keep `set -e` from working in the command.
refuses() {
    local status
    set +e
    (
        set -e
        "$@"
    ) >"$SCRATCH/said" 2>&1
    status=$?
    set -e
    if [ "$status" = 0 ] || ! grep -q '^error: ' "$SCRATCH/said"; then
        printf '    expected an error from: %s\n' "$*" >&2
        exit 1
    fi
}

skip() {
    printf '%s' "$*" >"$SCRATCH/.skipped"
    exit 0
}

run_tests() {
    local name folder status failed=0 total=0 skipped=0
    for name in $(declare -F | awk '$3 ~ /^test_/ { print $3 }'); do
        total=$((total + 1))
        folder=$(mktemp -d)
        status=0
        # Not as a condition: that would switch `set -e` off inside.
        set +e
        (
            set -euo pipefail
            SCRATCH=$folder
            "$name"
        ) </dev/null >"$folder/.log" 2>&1
        status=$?
        set -e
        if [ "$status" != 0 ]; then
            printf 'FAILED   %s\n' "$name"
            sed 's/^/         /' "$folder/.log"
            failed=$((failed + 1))
        elif [ -f "$folder/.skipped" ]; then
            printf 'skipped  %s: %s\n' "$name" "$(cat "$folder/.skipped")"
            skipped=$((skipped + 1))
        else
            printf 'ok       %s\n' "$name"
        fi
        rm -rf "$folder"
    done
    printf '%s: %d tests, %d failed, %d skipped\n' "$(basename "$0")" "$total" "$failed" "$skipped"
    [ "$failed" = 0 ]
}
