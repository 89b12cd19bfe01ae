#!/usr/bin/env bash
# `scripts/setup --model`: against a hub on this machine.
# shellcheck disable=SC2031,SC2034 # tests set what the sourced files read
set -euo pipefail

QUIPU_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/tests/harness.sh
. "$QUIPU_ROOT/scripts/tests/harness.sh"

# A hub with one small model in one file (acme/single) and one in two shards (acme/sharded).
serve() {
    local model
    QUIPU_CACHE=$SCRATCH/cache
    HUB=$SCRATCH/hub
    for model in single sharded; do
        mkdir -p "$HUB/acme/$model"
        echo '{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2}' >"$HUB/acme/$model/config.json"
        echo '{"version": "1.0"}' >"$HUB/acme/$model/tokenizer.json"
    done
    seq 20000 >"$HUB/acme/single/model.safetensors"
    seq 1000 >"$HUB/acme/sharded/model-00001-of-00002.safetensors"
    seq 2000 >"$HUB/acme/sharded/model-00002-of-00002.safetensors"
    echo '{"weight_map": {"a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}' \
        >"$HUB/acme/sharded/model.safetensors.index.json"
    coproc SERVER { exec python3 "$QUIPU_ROOT/scripts/tests/hub_server.py" "$HUB"; }
    local port
    read -r port <&"${SERVER[0]}"
    HF_ENDPOINT=http://127.0.0.1:$port
    unset HF_TOKEN
    export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
    # shellcheck source=scripts/lib/common.sh
    . "$QUIPU_ROOT/scripts/lib/common.sh"
    # shellcheck source=scripts/lib/hub.sh
    . "$QUIPU_ROOT/scripts/lib/hub.sh"
}

transfers() { grep -c "$1" "$HUB/log" 2>/dev/null || true; }

same() { cmp "$QUIPU_CACHE/models/acme--$1/$2" "$HUB/acme/$1/$2"; }

test_a_model_in_one_file() {
    serve
    hub_step acme/single
    expect "the weights" same single model.safetensors
    expect "the configuration" same single config.json
    expect "the tokenizer" same single tokenizer.json
}

test_a_model_in_shards() {
    serve
    hub_step acme/sharded
    expect "the first shard" same sharded model-00001-of-00002.safetensors
    expect "the second shard" same sharded model-00002-of-00002.safetensors
    expect "each once" equal "$(transfers safetensors\ )" 2
}

test_a_second_run_needs_no_hub() {
    serve
    hub_step acme/single
    HF_ENDPOINT=http://127.0.0.1:1
    hub_step acme/single
}

test_a_transfer_that_breaks_off_is_continued() {
    serve
    echo 2 >"$HUB/drop"
    hub_step acme/single
    expect "the weights" same single model.safetensors
    expect "three transfers" equal "$(transfers model.safetensors)" 3
    local half=$(($(wc -c <"$HUB/acme/single/model.safetensors") / 2))
    expect "the second from the middle" contains "$(cat "$HUB/log")" "acme/single/model.safetensors $half"
}

test_a_later_run_continues_what_an_earlier_one_began() {
    serve
    hub_parse acme/single
    mkdir -p "$HUB_FOLDER"
    head -c 5000 "$HUB/acme/single/model.safetensors" >"$HUB_FOLDER/model.safetensors.part"
    hub_step acme/single
    expect "the weights" same single model.safetensors
    expect "only the rest" contains "$(cat "$HUB/log")" "acme/single/model.safetensors 5000"
}

test_a_corrupt_transfer_is_noticed_and_repeated() {
    serve
    echo 1 >"$HUB/corrupt"
    hub_step acme/single
    expect "the weights" same single model.safetensors
    expect "two transfers" equal "$(transfers model.safetensors)" 2
}

test_a_hub_that_only_serves_corrupt_files_is_an_error() {
    serve
    echo 99 >"$HUB/corrupt"
    refuses hub_step acme/single
    expect "no weights" [ ! -e "$QUIPU_CACHE/models/acme--single/model.safetensors" ]
}

test_files_damaged_later_are_fetched_again_and_only_they() {
    serve
    hub_step acme/single
    truncate -s 100 "$QUIPU_CACHE/models/acme--single/model.safetensors"
    hub_step acme/single
    expect "the weights" same single model.safetensors
    expect "the tokenizer once" equal "$(transfers tokenizer.json)" 1
}

test_the_revision_is_pinned_to_the_commit_of_the_first_file() {
    serve
    hub_step acme/single
    expect "the commit" equal "$HUB_REVISION" 0123456789abcdef0123456789abcdef01234567
}

test_a_revision_has_a_folder_of_its_own() {
    serve
    hub_step acme/single@0123456789abcdef0123456789abcdef01234567
    expect "its folder" [ -f "$QUIPU_CACHE/models/acme--single@0123456789abcdef0123456789abcdef01234567/SHA256SUMS" ]
    refuses hub_step acme/single@v9
    expect "that names it" contains "$(cat "$SCRATCH/said")" v9
}

test_a_gated_model_needs_the_token() {
    serve
    printf 'hf_secret' >"$HUB/token"
    refuses hub_step acme/single
    expect "that names the variable" contains "$(cat "$SCRATCH/said")" HF_TOKEN
    HF_TOKEN=hf_secret
    hub_step acme/single
    expect "the weights" same single model.safetensors
}

test_a_model_that_is_not_there_is_an_error() {
    serve
    refuses hub_step acme/none
    expect "that names the file" contains "$(cat "$SCRATCH/said")" config.json
}

test_a_model_without_safetensors_is_an_error() {
    serve
    rm "$HUB/acme/single/model.safetensors"
    refuses hub_step acme/single
    expect "that names the layout" contains "$(cat "$SCRATCH/said")" safetensors
}

test_a_hub_that_is_away_is_an_error() {
    serve
    HF_ENDPOINT=http://127.0.0.1:1
    refuses hub_step acme/single
    expect "that says so" contains "$(cat "$SCRATCH/said")" "cannot be reached"
}

test_an_index_that_names_files_elsewhere_is_refused() {
    serve
    echo '{"weight_map": {"a": "../../escape.safetensors"}}' \
        >"$HUB/acme/sharded/model.safetensors.index.json"
    refuses hub_step acme/sharded
    expect "that says why" contains "$(cat "$SCRATCH/said")" "outside"
}

test_names_that_are_no_models_are_refused() {
    serve
    local name
    for name in "" model /x ../../etc a/b/c 'a/b c' 'a/b@' 'a/b@x/../..' 'a/b;id'; do
        refuses hub_parse "$name"
    done
    expect "no request" [ ! -e "$HUB/log" ]
}

run_tests
