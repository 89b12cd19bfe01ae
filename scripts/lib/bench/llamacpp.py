"""One sample of llama.cpp in a process of its own: prefill and greedy decoding, with times.

Reads {"model", "threads", "tokens", "decode"} from standard input and writes one JSON object to
standard output. The low-level interface is called, so that what is timed is llama.cpp and one
argmax per token, like in the engine's example `generate`.
"""

import ctypes
import json
import sys
import time

import llama_cpp
import numpy as np


def decode(context, tokens):
    """Computes tokens behind what the cache holds; the logits of the last one are kept."""
    array = (llama_cpp.llama_token * len(tokens))(*tokens)
    status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens)))
    if status != 0:
        raise SystemExit(f"llama_decode gave {status}")


def main():
    job = json.load(sys.stdin)
    tokens, steps = job["tokens"], job["decode"]
    # What llama.cpp logs belongs to nobody here.
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    options = llama_cpp.llama_model_default_params()
    options.n_gpu_layers = 0
    started = time.perf_counter()
    model = llama_cpp.llama_model_load_from_file(job["model"].encode(), options)
    if not model:
        raise SystemExit(f"llama.cpp does not load {job['model']}")
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = len(tokens) + steps
    options.n_batch = max(512, len(tokens))
    options.n_threads = options.n_threads_batch = job["threads"]
    context = llama_cpp.llama_init_from_model(model, options)
    if not context:
        raise SystemExit("llama.cpp makes no context")
    load = time.perf_counter() - started
    words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

    def likeliest():
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, shape=(words,)).argmax())

    # Warm up: weights from the disk, threads started.
    decode(context, tokens)
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)

    started = time.perf_counter()
    decode(context, tokens)
    token = likeliest()
    prefill = time.perf_counter() - started
    chosen = []
    started = time.perf_counter()
    for _ in range(steps):
        chosen.append(token)
        decode(context, [token])
        token = likeliest()
    spent = time.perf_counter() - started
    print(
        json.dumps(
            {
                "load_seconds": load,
                "prefill_seconds": prefill,
                "decode_seconds": spent,
                "prompt_token_ids": tokens,
                "token_ids": chosen,
            }
        )
    )


if __name__ == "__main__":
    main()
