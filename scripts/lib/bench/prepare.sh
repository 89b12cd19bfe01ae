# shellcheck shell=bash
# What scripts/bench looks for and makes before it measures. Sourced, after scripts/env and lib/common.sh.

# The programs that are measured.
programs_there() {
    local name
    for name in quipu quipu-bench quipu-bench-links quipu-node quipu-worker examples/generate; do
        [ -x "$QUIPU_BIN/$name" ] || return 1
    done
}

# The newest program that a bench of this name was built into.
bench_program() {
    local found=() path
    for path in "$QUIPU_BIN/deps/$1"-*; do
        # Programs have no ending; what lies beside them does.
        case "${path##*/}" in
            *.*) continue ;;
        esac
        if [ -x "$path" ]; then found+=("$path"); fi
    done
    [ "${#found[@]}" -gt 0 ] || return 1
    # shellcheck disable=SC2012 # names of cargo's, and the order of `ls -t` is what is wanted
    ls -t "${found[@]}" | head -n 1
}

# has_room FOLDER GIGABYTES: whether so much is free there.
has_room() {
    local free
    mkdir -p "$1"
    free=$(df --output=avail -k "$1" | tail -n 1)
    [ "$free" -gt $(($2 * 1000 * 1000)) ]
}

# prepare_hf PYTHON WEIGHTS FOLDER: these weights in f32 in Hugging Face's layout, for contenders that read no GGUF.
prepare_hf() {
    local python=$1 weights=$2 folder=$3 script=$QUIPU_ROOT/scripts/lib/bench/gguf.py stamp
    stamp=$(cat "$weights" "$script" | sha256sum)
    if [ -f "$folder/model.safetensors" ] &&
        [ "$(cat "$folder/made-of.txt" 2>/dev/null)" = "$stamp" ]; then return 0; fi
    if ! has_room "$(dirname "$folder")" 2; then
        note "2 GB have to be free in $(dirname "$folder")"
        return 1
    fi
    rm -f "$folder/made-of.txt"
    "$python" "$script" "$weights" "$folder" || return 1
    echo "$stamp" >"$folder/made-of.txt"
}
