"""Runs the rounds of scripts/bench and writes results.json and table.md.

In each round every contender is measured once at every thread count, in turn, so that what disturbs
the machine for a while disturbs them all. Medians are over rounds. A ratio is taken in each round,
between the thread counts at which each side's median is best, and its median is reported.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import swarm
from report import table

DECODE = 128
PROMPT = "Write a long story about a dragon who learns to bake bread."
# 256 tokens in the model's chat format, and a short answer.
LONG_PROMPT = (
    "The ship left the harbour early in the morning and the crew counted the barrels of salt, "
    "flour and oil that stood below the deck. " * 8
) + "Is it about bees? Say yes or no."
HERE = Path(__file__).resolve().parent


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def output_of(command, **options):
    """Standard output of a command, stripped; what it wrote to standard error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} gave {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def engine(bin_folder, weights, prompt, decode, threads, exact=False):
    """One sample of the engine in a process of its own, on Burn or on the reproducible kernels."""
    command = [str(bin_folder / "examples/generate"), "--model", str(weights), "--prompt", prompt]
    command += ["--max-tokens", str(decode), "--ignore-end", "--warm-up", "--json"]
    if exact:
        command += ["--exact", "--threads", str(threads)]
    return json.loads(output_of(command, env=environment(threads)))


def llamacpp(weights, tokens, decode, threads):
    """One sample of llama.cpp in a process of its own."""
    job = {"model": str(weights), "threads": threads, "tokens": tokens, "decode": decode}
    command = [sys.executable, str(HERE / "llamacpp.py")]
    return json.loads(output_of(command, input=json.dumps(job)))


def environment(threads):
    return {**os.environ, "RAYON_NUM_THREADS": str(threads)}


def rates(decoding, prefilling):
    """Tokens per second of a run that decodes and of one that computes the long prompt."""
    return {
        "decode": len(decoding["token_ids"]) / decoding["decode_seconds"],
        "prefill": len(prefilling["prompt_token_ids"]) / prefilling["prefill_seconds"],
        "load_seconds": decoding["load_seconds"],
    }


def swarm_sample(args, threads, expected):
    """One run of the demo with both prompts, and whether its tokens are those of one process."""
    found = swarm.sample(
        str(args.bin / "quipu-demo"),
        {"RAYON_NUM_THREADS": str(threads), "QUIPU_BIN": str(args.bin)},
        [PROMPT, LONG_PROMPT],
        DECODE,
    )
    short, long = found["prompts"]
    if len(short["token_ids"]) < DECODE // 2:
        raise RuntimeError("the answer through the workers is too short to time")
    return {
        "decode": short["tokens_per_second"],
        "prefill": long["prompt_tokens"] / long["first_token_seconds"],
        "first_token_seconds": short["first_token_seconds"],
        "start_to_first_token_seconds": found["start_to_first_token_seconds"],
        "worker_peak_rss_bytes": max(found["worker_peak_rss_bytes"]),
        "same_tokens_as_one_process": short["token_ids"] == expected[: len(short["token_ids"])],
    }


def run_round(args, number):
    """Every contender once at every thread count: its sample by "contender/threads"."""
    samples = {}
    # Who comes first changes, so that nobody always runs on the machine that another just warmed.
    for threads in args.threads if number % 2 == 0 else args.threads[::-1]:
        say(f"round {number + 1} of {args.rounds}, threads: {threads}")
        decoding = engine(args.bin, args.weights, PROMPT, DECODE, threads)
        prefilling = engine(args.bin, args.weights, LONG_PROMPT, 0, threads)
        samples[f"engine/{threads}"] = rates(decoding, prefilling)
        samples[f"exact/{threads}"] = rates(
            engine(args.bin, args.weights, PROMPT, DECODE, threads, exact=True),
            engine(args.bin, args.weights, LONG_PROMPT, 0, threads, exact=True),
        )
        if args.llamacpp:
            samples[f"llamacpp/{threads}"] = rates(
                llamacpp(args.weights, decoding["prompt_token_ids"], DECODE, threads),
                llamacpp(args.weights, prefilling["prompt_token_ids"], 0, threads),
            )
        samples[f"swarm3/{threads}"] = swarm_sample(args, threads, decoding["token_ids"])
        for name, sample in samples.items():
            if name.endswith(f"/{threads}"):
                say(f"  {name}: {sample['decode']:.1f} decode, {sample['prefill']:.1f} prefill")
    samples["load_average"] = os.getloadavg()[0]
    prompts = {
        "decode_prompt_tokens": len(decoding["prompt_token_ids"]),
        "prefill_prompt_tokens": len(prefilling["prompt_token_ids"]),
        "decode_tokens": DECODE,
    }
    return samples, prompts


def medians(rounds):
    """The median of every figure of every contender; of a truth, whether it always held."""
    found = {}
    for name in rounds[0]:
        if name == "load_average":
            continue
        found[name] = {}
        for figure, value in rounds[0][name].items():
            values = [samples[name][figure] for samples in rounds]
            found[name][figure] = all(values) if isinstance(value, bool) else median(values)
    return found


def best(middle, contender, figure):
    """The contender's name with the thread count at which its median is highest."""
    names = [name for name in middle if name.startswith(f"{contender}/")]
    return max(names, key=lambda name: middle[name][figure])


def ratio(rounds, middle, one, other, figure):
    above, below = best(middle, one, figure), best(middle, other, figure)
    return median(samples[above][figure] / samples[below][figure] for samples in rounds)


def ratios(rounds, middle, with_llamacpp):
    found = {
        "swarm3_vs_single": ratio(rounds, middle, "swarm3", "engine", "decode"),
        "swarm3_prefill_vs_single": ratio(rounds, middle, "swarm3", "engine", "prefill"),
    }
    if with_llamacpp:
        found["decode_vs_llamacpp_q4_1"] = ratio(rounds, middle, "exact", "llamacpp", "decode")
        found["prefill_vs_llamacpp"] = ratio(rounds, middle, "exact", "llamacpp", "prefill")
        found["burn_decode_vs_llamacpp_q4_1"] = ratio(rounds, middle, "engine", "llamacpp", "decode")
        found["burn_prefill_vs_llamacpp"] = ratio(rounds, middle, "engine", "llamacpp", "prefill")
    return found


def field(path, pattern):
    """What a pattern's group matches in a file, "unknown" where it does not."""
    try:
        match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match.group(1).strip() if match else "unknown"


def optional(command):
    try:
        return output_of(command)
    except (OSError, RuntimeError):
        return "unknown"


def machine():
    memory = field("/proc/meminfo", r"^MemTotal:\s*(\d+) kB")
    return {
        "cpu": field("/proc/cpuinfo", r"^model name\s*: (.*)$"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory) / 2**20, 1) if memory.isdigit() else memory,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(args):
    lock = HERE.parents[2] / "Cargo.lock"
    changed = optional(["git", "status", "--porcelain", "--untracked-files=no"])
    found = {
        "quipu": optional(["git", "rev-parse", "--short", "HEAD"]) + (" (changed)" if changed else ""),
        "rustc": optional(["rustc", "--version"]).removeprefix("rustc "),
        "burn": field(lock, r'^name = "burn"\nversion = "(.*)"'),
        "programs": args.bin.name,
        "weights": args.weights.name,
    }
    if args.llamacpp:
        found["llama-cpp-python"] = importlib.metadata.version("llama-cpp-python")
    return found


def thread_counts(text):
    counts = [int(part) for part in text.split(",")]
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError("thread counts are positive")
    return counts


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=thread_counts, default=[1, 2])
    parser.add_argument("--llamacpp", action="store_true")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("at least one round")
    return args


def main():
    args = options()
    command = f"scripts/bench --rounds {args.rounds} --threads {','.join(map(str, args.threads))}"
    results = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command + ("" if args.llamacpp else " --without-llamacpp"),
        "machine": machine(),
        "versions": versions(args),
        "load_average_before": os.getloadavg()[0],
        "rounds": [],
    }
    args.results.mkdir(parents=True, exist_ok=True)
    file = args.results / "results.json"
    for number in range(args.rounds):
        samples, results["prompts"] = run_round(args, number)
        results["rounds"].append(samples)
        middle = medians(results["rounds"])
        results["medians"] = middle
        results["ratios"] = ratios(results["rounds"], middle, args.llamacpp)
        results.update(results["ratios"])
        # After every round, so that what was measured outlives an interruption.
        file.write_text(json.dumps(results, indent=2) + "\n")
    text = table(results)
    (args.results / "table.md").write_text(text)
    print(text)
    say(f"written to {file}")
    if not all(m.get("same_tokens_as_one_process", True) for m in middle.values()):
        sys.exit("error: the workers chose other tokens than one process")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
