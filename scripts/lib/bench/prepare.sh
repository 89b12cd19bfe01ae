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

# prepare_candle: builds candle's program and prints its path. For this machine, as llama.cpp is, and with no lints:
# the package is none of the workspace.
prepare_candle() {
    local target=$CARGO_TARGET_DIR/bench-candle
    say "Building candle's program (some minutes the first time)"
    env -u RUSTC_WORKSPACE_WRAPPER RUSTFLAGS='-C target-cpu=native' cargo build --release --locked \
        --manifest-path "$QUIPU_ROOT/scripts/lib/bench/candle/Cargo.toml" --target-dir "$target" >&2 ||
        return 1
    echo "$target/release/bench-candle"
}

# python_with_numpy FOLDER: a Python that has numpy, one of the environments in this folder or else a new one.
python_with_numpy() {
    local python
    for python in "$1/venv/bin/python" "$1/torch/bin/python" "$1/numpy/bin/python" python3; do
        if "$python" -c 'import numpy' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "Installing numpy"
    { python3 -m venv "$1/numpy" &&
        "$1/numpy/bin/python" -m pip install --quiet --disable-pip-version-check numpy; } >&2 || return 1
    echo "$1/numpy/bin/python"
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
