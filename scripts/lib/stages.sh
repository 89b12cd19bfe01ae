# shellcheck shell=bash
# Timed stages with a table at the end. Needs common.sh.

STAGE_NAMES=()
STAGE_RESULTS=()
STAGE_SECONDS=()

# stage NAME COMMAND…: runs it, and remembers how long it took and how it ended. Always returns 0, see
# last_stage_passed: as a part of a condition (`stage … || …`) it would run the command without `set -e`.
stage() {
    local name=$1 begun=$SECONDS status result=ok
    shift
    say "$name"
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    [ "$status" = 0 ] || result="FAILED ($status)"
    STAGE_NAMES+=("$name")
    STAGE_RESULTS+=("$result")
    STAGE_SECONDS+=($((SECONDS - begun)))
}

last_stage_passed() { [ "${STAGE_RESULTS[-1]}" = ok ]; }

# stage_left_out NAME REASON
stage_left_out() {
    STAGE_NAMES+=("$1")
    STAGE_RESULTS+=("left out: $2")
    STAGE_SECONDS+=(0)
}

stage_table() {
    local i total=0
    printf '\n%-24s %10s  %s\n' stage seconds result
    for i in "${!STAGE_NAMES[@]}"; do
        printf '%-24s %10d  %s\n' "${STAGE_NAMES[i]}" "${STAGE_SECONDS[i]}" "${STAGE_RESULTS[i]}"
        total=$((total + STAGE_SECONDS[i]))
    done
    printf '%-24s %10d\n' total "$total"
}

# Whether every stage so far ended well.
stages_passed() {
    local result
    for result in "${STAGE_RESULTS[@]}"; do
        [[ "$result" != FAILED* ]] || return 1
    done
}
