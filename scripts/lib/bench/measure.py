"""Runs the rounds of scripts/bench and writes results.json, table.md and the plots.

In each round every contender is measured once in every variant, in turn, so that what disturbs the
machine for a while disturbs them all. See figures.py for medians and ratios.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from pathlib import Path
from statistics import mean

import contenders
import figures
import plot
from contenders import end_on_signals, output_of
from report import publish, table

DECODE = 128
PROMPT = "Write a long story about a dragon who learns to bake bread."
# 256 tokens in the model's chat format, and a short answer.
LONG_PROMPT = (
    "The ship left the harbour early in the morning and the crew counted the barrels of salt, "
    "flour and oil that stood below the deck. " * 8
) + "Is it about bees? Say yes or no."
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def rates(decoding, prefilling):
    """Tokens per second of a run that decodes and of one that computes the long prompt."""
    return {
        "decode": len(decoding["token_ids"]) / decoding["decode_seconds"],
        "prefill": len(prefilling["prompt_token_ids"]) / prefilling["prefill_seconds"],
        "load_seconds": decoding["load_seconds"],
    }


def aggregates(report):
    """Tokens per second of all sessions together, by their number."""
    return {
        f"aggregate_{point['sessions']}": point["tokens_per_second"] for point in report["sessions"]
    }


def swarm_figures(report, expected):
    """Figures of three workers, of what quipu-bench tells."""
    first, workers = report["sessions"][0], report["workers"]
    one = min(report["sessions"], key=lambda point: point["sessions"])
    sample = {
        **aggregates(report),
        "prefill": report["long"]["prompt_tokens"] / report["long"]["first_token_seconds"],
        "first_token_seconds": one["first_token_seconds"][0],
        "start_to_first_token_seconds": report["start_to_first_token_seconds"],
        "worker_rss_ratio": max(
            w["rss_bytes"] / (w["weights_bytes"] + w["configured_cache_bytes"]) for w in workers
        ),
        "worker_rss_bytes": max(w["rss_bytes"] for w in workers),
        "worker_peak_rss_bytes": max(w["peak_rss_bytes"] for w in workers),
        "worker_weights_bytes": max(w["weights_bytes"] for w in workers),
        "worker_configured_cache_bytes": max(w["configured_cache_bytes"] for w in workers),
        "same_tokens_as_one_process": all(point["same_tokens"] for point in report["sessions"])
        and first["token_ids"] == expected[: len(first["token_ids"])],
    }
    if one["sessions"] == 1:
        sample["decode"] = one["tokens_per_second"]
    return sample


def copy_rate():
    """GB/s that one thread copies in memory: tells one state of a shared machine from another."""
    source = bytearray(os.urandom(1 << 20)) * 256
    target = memoryview(bytearray(len(source)))
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        target[:] = source
        spent.append(time.perf_counter() - started)
    return 2 * len(source) / min(spent) / 1e9


class Round:
    """The samples of one round, and the tokens that were chosen in it."""

    def __init__(self, args):
        self.args, self.samples, self.tokens, self.failures = args, {}, {}, {}

    def take(self, name, measure):
        """Measures a variant; a contender that is not ours may fail without the rest."""
        try:
            sample, tokens = measure()
        except RuntimeError as error:
            if figures.contender(name) in OURS:
                raise
            self.failures[name] = str(error)
            return say(f"  {name} failed: {error}")
        self.samples[name] = {**self.samples.get(name, {}), **sample}
        if tokens:
            self.tokens[name] = tokens
        shown = [f"{value:.1f} {key}" for key, value in sample.items() if key in SHOWN]
        return say(f"  {name}: {', '.join(shown)}")

    def both(self, run):
        """Rates and tokens of a run(prompt or tokens, steps) for the two prompts."""
        decoding = run(0, self.args.steps)
        return rates(decoding, run(1, 0)), decoding["token_ids"]

    def at(self, threads):
        args, prompts = self.args, [PROMPT, LONG_PROMPT]

        def engine(weights, exact):
            return lambda which, steps: contenders.engine(
                args.bin, weights, prompts[which], steps, threads, exact
            )

        def both(run):
            return lambda: self.both(run)

        # The model's own tokens of the prompts, which the others get.
        self.take(f"exact/{threads}", both(engine(args.weights, True)))
        if not args.quick:
            self.take(f"engine/{threads}", both(engine(args.weights, False)))
        if args.q4_0:
            self.take(f"exact-q4_0/{threads}", both(engine(args.q4_0, True)))
        ids = args.prompt_ids
        for name, weights in args.llamacpp_files:
            for flash in [False, True]:
                variant = f"{name}/{threads}" + (" flash attention" if flash else "")
                self.take(
                    variant,
                    both(
                        lambda which, steps, weights=weights, flash=flash: contenders.llamacpp(
                            weights, ids[which], steps, threads, flash
                        )
                    ),
                )
            self.take(
                f"{name}/{threads}",
                lambda weights=weights: (
                    aggregates(
                        contenders.llamacpp(
                            weights, ids[0], args.steps, threads, sessions=args.sessions
                        )
                    ),
                    None,
                ),
            )
        self.take(
            f"sessions/{threads}",
            lambda: (
                aggregates(
                    contenders.sessions(
                        args.bin, args.weights, PROMPT, args.steps, threads, args.sessions
                    )
                ),
                None,
            ),
        )
        self.take(f"swarm3/{threads}", lambda: (self.swarm(threads), None))
        for name, python, script in args.python_contenders:
            self.take(
                f"{name}/{threads}",
                both(
                    lambda which, steps, python=python, script=script: contenders.python_job(
                        python,
                        script,
                        {
                            "model": str(args.hf),
                            "threads": threads,
                            "tokens": ids[which],
                            "decode": steps,
                        },
                    )
                ),
            )
        self.candle(threads)
        if args.petals:
            self.take(f"petals/{threads}", lambda: self.petals(threads))

    def swarm(self, threads):
        args = self.args
        report = contenders.swarm(
            args.bin, args.weights, [PROMPT, LONG_PROMPT], args.steps, threads, args.sessions
        )
        return swarm_figures(report, self.tokens[f"exact/{threads}"])

    def candle(self, threads):
        args = self.args
        for name, model in args.candle_models:

            def run(which, steps, model=model):
                return contenders.candle(args.candle, model, args.prompt_ids[which], steps, threads)

            self.take(f"{name}/{threads}", lambda run=run: self.both(run))

    def petals(self, threads):
        ids = self.args.prompt_ids
        job = {"model": str(self.args.hf), "blocks": self.args.blocks, "threads": threads}
        job |= {"tokens": ids[0], "prompt": ids[1], "decode": self.args.steps}
        report = contenders.python_job(self.args.petals, "petals_swarm.py", job)
        sample = {
            "decode": report["decoded"] / report["decode_seconds"],
            "prefill": len(ids[1]) / report["prefill_seconds"],
        }
        return sample, report["token_ids"]


# Whose failure fails the bench.
OURS = {"exact", "exact-q4_0", "engine", "sessions", "swarm3"}
SHOWN = {"decode", "prefill", "aggregate_1", "aggregate_8", "aggregate_16"}


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
    flags = field("/proc/cpuinfo", r"^flags\s*: (.*)$").split()
    return {
        "cpu": field("/proc/cpuinfo", r"^model name\s*: (.*)$"),
        "simd": [flag for flag in flags if re.match(r"(avx|fma|f16c|amx)", flag)],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory) / 2**20, 1) if memory.isdigit() else memory,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(args):
    if args.given:
        # Nobody knows what they were built of.
        found = {"quipu": "programs given"}
    else:
        changed = optional(["git", "status", "--porcelain", "--untracked-files=no"])
        head = optional(["git", "rev-parse", "--short", "HEAD"])
        found = {
            "quipu": head + (" (changed)" if changed else ""),
            "rustc": optional(["rustc", "--version"]).removeprefix("rustc "),
            "burn": field(ROOT / "Cargo.lock", r'^name = "burn"\nversion = "(.*)"'),
            "programs": args.bin.name,
        }
    found["weights"] = args.weights.name
    if args.llamacpp:
        found["llama-cpp-python"] = importlib.metadata.version("llama-cpp-python")
        report = contenders.python_job(sys.executable, "llamacpp.py", {"system": True})
        found["llama.cpp is compiled with"] = report["system"]
    for name, python in [("torch", args.torch), ("petals", args.petals)]:
        if python:
            code = f"import importlib.metadata as m; print(m.version('{name}'))"
            found[name] = optional([str(python), "-c", code])
    if args.candle:
        found["candle"] = field(HERE / "candle/Cargo.lock", r'^name = "candle-core"\nversion = "(.*)"')
    return found


def counts(text):
    """Positive numbers between commas."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError("numbers from 1 on")
    return found


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--given", action="store_true", help="the programs may be of another state")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--command", default="scripts/bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=counts, default=[1, 2])
    parser.add_argument("--sessions", type=counts)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--budget", type=float, help="seconds; no round begins that would not fit")
    parser.add_argument("--llamacpp", action="store_true")
    parser.add_argument("--torch", type=Path, help="a python with torch and transformers")
    parser.add_argument("--petals", type=Path, help="a python with petals")
    parser.add_argument("--candle", type=Path, help="the program of the package candle")
    parser.add_argument("--hf", type=Path, help="the model in Hugging Face's layout, for these three")
    parser.add_argument("--publish", type=Path, help="a page with marks, which gets the results")
    parser.add_argument("--matrix-bench", type=Path, help="the Criterion bench `matrix`")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("at least one round")
    if (args.torch or args.petals or args.candle) and not args.hf:
        parser.error("--torch, --petals and --candle need --hf")
    args.sessions = args.sessions or ([1, 8] if args.quick else [1, 2, 4, 8, 16])
    # Tokens that everybody decodes, alone or in one of several sessions.
    args.steps = DECODE // 2 if args.quick else DECODE
    return args


def prepare(args):
    """What all rounds need: both prompts in tokens, and llama.cpp's other file."""
    ends = [
        contenders.engine(args.bin, args.weights, prompt, 0, 1, exact=True)
        for prompt in [PROMPT, LONG_PROMPT]
    ]
    args.prompt_ids = [report["prompt_token_ids"] for report in ends]
    args.llamacpp_files, args.q4_0 = [], None
    if args.llamacpp:
        args.q4_0 = args.results / f"{args.weights.stem}-as-Q4_0.gguf"
        contenders.python_job(
            sys.executable, "llamacpp.py", {"quantize": str(args.weights), "to": str(args.q4_0)}
        )
        args.llamacpp_files = [("llamacpp-q4_1", args.weights), ("llamacpp-q4_0", args.q4_0)]
    args.python_contenders = []
    if args.torch:
        args.python_contenders.append(("torch", args.torch, "transformers_run.py"))
    args.candle_models = []
    if args.candle:
        args.candle_models = [("candle-q4_1", args.weights), ("candle", args.hf)]
    if args.hf:
        args.blocks = json.loads((args.hf / "config.json").read_text())["num_hidden_layers"]


def summarise(results):
    """Medians, ratios and reasons of what was measured so far."""
    rounds = [entry["samples"] for entry in results["rounds"]]
    middle = figures.medians(rounds)
    results["medians"] = middle
    values, reasons = figures.ratios(rounds, middle)
    values["worker_rss_ratio"] = figures.worker_memory(middle)
    values["latency_bound_100ms"] = figures.latency_bound(results.get("links"))
    costs = results.get("order_cost")
    # Where the order is the fastest it costs nothing: without it one would do the same.
    values["reproducible_cost"] = mean(max(0.0, cost) for cost in costs.values()) if costs else None
    defaults = {
        "worker_rss_ratio": "no workers were measured",
        "latency_bound_100ms": "links of 100 ms were not measured",
        "reproducible_cost": "there is no bench for this instruction set, or it was not built",
    }
    for key, reason in defaults.items():
        if values[key] is None:
            reasons[key] = results["failures"].get(key, reason)
    results["ratios"], results["reasons"] = values, reasons
    for key in figures.PROMISED:
        results[key] = values[key]


def write(args, results):
    summarise(results)
    (args.results / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    for name, drawing in plot.plots(results).items():
        (args.results / name).write_text(drawing)


def once(results, key, measure):
    """What is measured once, outside of the rounds; null with the reason where that fails."""
    try:
        return measure()
    except (OSError, RuntimeError) as error:
        results["failures"][key] = str(error)
        say(f"  {key} failed: {error}")
        return None


def main():
    args = options()
    started = time.monotonic()
    args.results.mkdir(parents=True, exist_ok=True)
    prepare(args)
    results = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": args.command,
        "machine": machine(),
        "versions": versions(args),
        "prompts": {
            "decode_prompt_tokens": len(args.prompt_ids[0]),
            "prefill_prompt_tokens": len(args.prompt_ids[1]),
            "decode_tokens": args.steps,
            "session_tokens": args.steps,
        },
        "load_average_before": os.getloadavg()[0],
        "rounds": [],
        "failures": {},
    }
    say("links")
    delays = [0, 100] if args.quick else [0, 10, 50, 100]
    results["links"] = once(
        results,
        "latency_bound_100ms",
        lambda: contenders.links(
            args.bin,
            args.weights,
            delays,
            16 if args.quick else 64,
            1 if args.quick else args.rounds,
            failover=not args.quick,
            # With a budget most of it is the rounds'.
            limit=args.budget and args.budget / 3,
        ),
    )
    if args.matrix_bench:
        say("the order of sums")
        home = args.results / "criterion"
        results["order_cost"] = once(
            results,
            "reproducible_cost",
            lambda: contenders.order(
                args.matrix_bench,
                home,
                0.5 if args.quick else 2,
                limit=args.budget and args.budget / 6,
            ),
        )
    longest = 0.0
    for number in range(args.rounds):
        begun = time.monotonic()
        if args.budget and number and begun - started + longest > args.budget:
            say(f"no time for more than {number} rounds")
            break
        measured = Round(args)
        # Who comes first changes, so that nobody always runs on the machine that another just warmed.
        for threads in args.threads if number % 2 == 0 else args.threads[::-1]:
            say(f"round {number + 1} of {args.rounds}, threads: {threads}")
            measured.at(threads)
        results["rounds"].append(
            {
                "samples": measured.samples,
                "load_average": os.getloadavg()[0],
                "copy_gb_per_second": copy_rate(),
            }
        )
        results["failures"].update(measured.failures)
        mine = measured.tokens[f"exact/{args.threads[0]}"]
        results["tokens_until_another_than_ours"] = {
            name: figures.common_prefix(mine, tokens) for name, tokens in measured.tokens.items()
        }
        # After every round, so that what was measured outlives an interruption.
        write(args, results)
        longest = max(longest, time.monotonic() - begun)
    results["seconds"] = time.monotonic() - started
    write(args, results)
    text = table(results)
    (args.results / "table.md").write_text(text)
    print(text)
    say(f"written to {args.results / 'results.json'}")
    if not all(m.get("same_tokens_as_one_process", True) for m in results["medians"].values()):
        sys.exit("error: the workers chose other tokens than one process")
    if args.publish:
        publish(args.publish, text, args.results)


if __name__ == "__main__":
    end_on_signals()
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
