"""llama.cpp in a process of its own. Reads one job from standard input and writes one JSON object.

- {"model", "threads", "tokens", "decode", "flash"}: prefill and greedy decoding of one sequence;
- the same with {"sessions": [1, 8]}: greedy decoding of so many sequences at once, in one batch a step;
- {"quantize": FROM, "to": TO}: the model in Q4_0, by llama.cpp's own function, without what it
  logs; token embedding and head keep their eight bits;
- {"system": true}: what the library was compiled with.

The low-level interface is called, so that what is timed is llama.cpp and one argmax per token, like
in the engine's example `generate`.
"""

import ctypes
import json
import sys
import time

import llama_cpp
import numpy as np

Q4_0, Q8_0 = 2, 8


class Context:
    """A model with a cache for some sequences, each of at most so many tokens."""

    def __init__(self, job, sequences=1):
        self.capacity = len(job["tokens"]) + job["decode"] + 1
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(job["model"].encode(), options)
        if not self.model:
            raise SystemExit(f"llama.cpp does not load {job['model']}")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = sequences * -(-self.capacity // 256) * 256
        options.n_seq_max = sequences
        options.n_batch = max(512, len(job["tokens"]))
        options.n_threads = options.n_threads_batch = job["threads"]
        options.flash_attn_type = int(job.get("flash", False))
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        if not self.context:
            raise SystemExit("llama.cpp makes no context")
        self.words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(options.n_batch, 0, 1)

    def decode(self, rows):
        """Computes (token, position, sequence, wants logits) rows."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for at, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[at], batch.pos[at], batch.logits[at] = token, position, wanted
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
        status = llama_cpp.llama_decode(self.context, batch)
        if status != 0:
            raise SystemExit(f"llama_decode gave {status}")

    def prompt(self, tokens, sequence=0):
        last = len(tokens) - 1
        self.decode([(token, at, sequence, at == last) for at, token in enumerate(tokens)])
        return self.likeliest(last)

    def likeliest(self, row):
        logits = llama_cpp.llama_get_logits_ith(self.context, row)
        return int(np.ctypeslib.as_array(logits, shape=(self.words,)).argmax())

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def close(self):
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)


def one(job):
    started = time.perf_counter()
    context = Context(job)
    load = time.perf_counter() - started
    tokens = job["tokens"]
    # Warm up: weights from the disk, threads started.
    context.prompt(tokens)
    context.clear()
    started = time.perf_counter()
    token = context.prompt(tokens)
    prefill = time.perf_counter() - started
    chosen = []
    started = time.perf_counter()
    for position in range(len(tokens), len(tokens) + job["decode"]):
        chosen.append(token)
        context.decode([(token, position, 0, True)])
        token = context.likeliest(0)
    return {
        "load_seconds": load,
        "prefill_seconds": prefill,
        "decode_seconds": time.perf_counter() - started,
        "prompt_token_ids": tokens,
        "token_ids": chosen,
    }


def several(job, count):
    context = Context(job, count)
    tokens = job["tokens"]
    following = [context.prompt(tokens, sequence) for sequence in range(count)]
    started = time.perf_counter()
    for position in range(len(tokens), len(tokens) + job["decode"]):
        context.decode([(token, position, at, True) for at, token in enumerate(following)])
        following = [context.likeliest(row) for row in range(count)]
    spent = time.perf_counter() - started
    context.close()
    return {"sessions": count, "tokens_per_second": count * job["decode"] / spent}


def quantize(job):
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.allow_requantize = Q4_0, True
    options.token_embedding_type = options.output_tensor_type = Q8_0
    status = llama_cpp.llama_model_quantize(
        job["quantize"].encode(), job["to"].encode(), ctypes.byref(options)
    )
    if status != 0:
        raise SystemExit(f"llama_model_quantize gave {status}")
    return {"to": job["to"]}


def main():
    job = json.load(sys.stdin)
    # What llama.cpp logs belongs to nobody here.
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    if "system" in job:
        report = {"system": llama_cpp.llama_print_system_info().decode().strip(" |")}
    elif "quantize" in job:
        report = quantize(job)
    elif "sessions" in job:
        report = {"sessions": [several(job, count) for count in job["sessions"]]}
    else:
        report = one(job)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
