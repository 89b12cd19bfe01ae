"""One sample of transformers on torch in a process of its own, in f32: prefill and greedy decoding.

Reads {"model": folder, "threads", "tokens", "decode"} from standard input and writes one JSON object.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def main():
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    started = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(job["model"], torch_dtype=torch.float32)
    model.eval()
    load = time.perf_counter() - started
    prompt = torch.tensor([job["tokens"]])
    with torch.inference_mode():
        model(prompt, use_cache=True)
        started = time.perf_counter()
        step = model(prompt, use_cache=True)
        token = int(step.logits[0, -1].argmax())
        prefill = time.perf_counter() - started
        chosen = []
        started = time.perf_counter()
        for _ in range(job["decode"]):
            chosen.append(token)
            step = model(
                torch.tensor([[token]]), past_key_values=step.past_key_values, use_cache=True
            )
            token = int(step.logits[0, -1].argmax())
        spent = time.perf_counter() - started
    report = {
        "load_seconds": load,
        "prefill_seconds": prefill,
        "decode_seconds": spent,
        "prompt_token_ids": job["tokens"],
        "token_ids": chosen,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
