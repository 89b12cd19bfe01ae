"""The Markdown tables of scripts/bench, and where they stand in the documentation."""

import shutil
from statistics import median

from figures import contender

LABELS = {
    "exact": "engine, reproducible kernels",
    "exact-q4_0": "engine, reproducible kernels, Q4_0",
    "engine": "engine on Burn, f32",
    "swarm3": "three local workers, reproducible kernels",
    "llamacpp-q4_1": "llama.cpp, the same Q4_1 file",
    "llamacpp-q4_0": "llama.cpp, Q4_0",
    "candle-q4_1": "candle, the same Q4_1 file",
    "candle": "candle, f32",
    "torch": "transformers on torch, f32",
    "petals": "Petals, three local servers, f32",
    "sessions": "engine, one process",
}
RATIOS = {
    "decode_vs_llamacpp_q4_1": ("decode : llama.cpp on the same Q4_1 file", "≥ 1.1"),
    "decode_vs_llamacpp_best": ("decode : llama.cpp's best of Q4_1 and Q4_0", "≥ 1.0"),
    "decode_q4_0_vs_llamacpp_q4_0": ("decode, both on the Q4_0 file", ""),
    "prefill_vs_llamacpp": ("prefill : llama.cpp on the same Q4_1 file", "≥ 1.0"),
    "prefill_vs_llamacpp_best": ("prefill : llama.cpp's best of Q4_1 and Q4_0", ""),
    "swarm3_vs_single": ("decode, three workers : one process", "≥ 0.9"),
    "swarm3_prefill_vs_single": ("prefill, three workers : one process", ""),
    "swarm3_vs_petals": ("decode, three workers : Petals", "≥ 10"),
    "aggregate8_vs_llamacpp": ("8 sessions, one process : llama.cpp on Q4_1", "≥ 1.0"),
    "aggregate8_vs_llamacpp_best": ("8 sessions, one process : llama.cpp's best", ""),
    "swarm3_aggregate8_vs_llamacpp": ("8 sessions, three workers : llama.cpp on Q4_1", ""),
    "latency_bound_100ms": ("plain decoding over links of 100 ms : the bound", "≥ 0.9"),
    "worker_rss_ratio": ("a worker's resident memory : weights and configured cache", "≤ 1.3"),
    "reproducible_cost": ("time that the order of sums costs", "< 0.05"),
    "decode_vs_torch": ("decode : torch", ""),
    "decode_vs_candle": ("decode : candle's best of f32 and Q4_1", ""),
    "exact_vs_burn": ("decode, reproducible kernels : Burn", ""),
}


def spread(results, name, figure):
    """Median, lowest and highest of a figure; a dash where there is none."""
    samples = [entry["samples"].get(name, {}) for entry in results["rounds"]]
    values = [sample[figure] for sample in samples if figure in sample]
    if not values:
        return "–"
    return f"{median(values):.1f} ({min(values):.1f} – {max(values):.1f})"


def row(cells):
    return "| " + " | ".join(cells) + " |"


def header(cells):
    return [row(cells), "|" + "---|" * len(cells)]


def ordered(results, figure):
    """Variants that have a figure, in the order of LABELS."""
    names = [name for name, figures in results["medians"].items() if figure in figures]
    return sorted(names, key=lambda name: (list(LABELS).index(contender(name)), name))


def label(name):
    threads, _, more = name.split("/")[1].partition(" ")
    return [LABELS[contender(name)] + (f", {more}" if more else ""), threads]


def table(results):
    """Markdown of results.json."""
    prompts, machine, versions = results["prompts"], results["machine"], results["versions"]
    rounds = results["rounds"]
    out = [
        f"Measured {results['date'][:16].replace('T', ' ')} UTC by `{results['command']}` on "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}.",
        "Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()) + ".",
        f"Load average before the first round {results['load_average_before']:.1f}, after each round "
        + ", ".join(f"{entry['load_average']:.1f}" for entry in rounds)
        + "; memory copied by one thread after each round, GB/s: "
        + ", ".join(f"{entry['copy_gb_per_second']:.1f}" for entry in rounds)
        + ".",
        "",
        f"Tokens per second, median (lowest – highest) of {len(rounds)} rounds. Decode: "
        f"{prompts['decode_tokens']} tokens after a prompt of {prompts['decode_prompt_tokens']}; "
        f"prefill: a prompt of {prompts['prefill_prompt_tokens']}.",
        "",
        *header(["", "threads", "decode", "prefill"]),
    ]
    for name in ordered(results, "decode"):
        out.append(
            row(label(name) + [spread(results, name, figure) for figure in ["decode", "prefill"]])
        )
    numbers = sorted(
        {
            int(figure.removeprefix("aggregate_"))
            for figures in results["medians"].values()
            for figure in figures
            if figure.startswith("aggregate_")
        }
    )
    if numbers:
        out += [
            "",
            f"Tokens per second of all sessions together, each of {prompts['session_tokens']} tokens, "
            "medians:",
            "",
            *header(["", "threads", *(str(number) for number in numbers)]),
        ]
        for name in ordered(results, f"aggregate_{numbers[0]}"):
            figures = results["medians"][name]
            out.append(
                row(label(name) + [f"{figures.get(f'aggregate_{n}', 0):.1f}" for n in numbers])
            )
    out += ["", "Ratios, median over rounds, each side at its best:", ""]
    out += header(["", "ratio", "target"])
    for key, (text, target) in RATIOS.items():
        value = results["ratios"].get(key)
        shown = f"{value:.3f}" if value is not None else f"not taken: {reason(results, key)}"
        out.append(row([text, shown, target]))
    out += workers(results) + links(results)
    return "\n".join(out) + "\n"


def reason(results, key):
    """The first line of why a ratio is null."""
    return results["reasons"].get(key, "unknown").splitlines()[0]


def workers(results):
    names = [name for name in results["medians"] if contender(name) == "swarm3"]
    if not names:
        return []
    out = ["", "Three workers, medians:", ""]
    out += header(
        [
            "threads",
            "largest worker",
            "its peak",
            "weights",
            "configured cache",
            "open to first token",
            "start to first token",
            "same tokens as one process",
        ]
    )
    for name in names:
        found = results["medians"][name]
        memory = ["rss", "peak_rss", "weights", "configured_cache"]
        out.append(
            row(
                [name.split("/")[1]]
                + [f"{found[f'worker_{part}_bytes'] / 2**20:.0f} MiB" for part in memory]
                + [f"{found['first_token_seconds']:.2f} s"]
                + [f"{found['start_to_first_token_seconds']:.1f} s"]
                + ["yes" if found["same_tokens_as_one_process"] else "NO"]
            )
        )
    return out


def links(results):
    measured = results.get("links")
    if not measured:
        return []
    out = [
        "",
        f"Three workers behind links of {measured['rate_mbit']} Mbit/s, tokens per second of "
        f"{measured['max_tokens']}:",
        "",
    ]
    out += header(
        ["delay of a link", "prompt", "bound", "plain", "of the bound", "guessing", "fail-over stall"]
    )
    for link in measured["links"]:
        bound, failover = link["bound_steps_per_second"], link["failover"]
        for at, prompt in enumerate(link["prompts"]):
            plain, guessing = prompt["plain"], prompt["drafting"]
            share, stall = plain["of_bound"], failover and f"{failover['stall_seconds']:.2f} s"
            out.append(
                row(
                    [
                        f"{link['delay_ms']} ms",
                        " ".join(prompt["prompt"].split()[:4]) + "…",
                        f"{bound:.2f}" if bound else "–",
                        f"{plain['tokens_per_second']:.2f}",
                        f"{share:.3f}" if share else "–",
                        f"{guessing['tokens_per_second']:.2f}",
                        stall if stall and at == 0 else "–",
                    ]
                )
            )
    return out


START, END = "<!-- results: written by scripts/bench --publish -->", "<!-- end of results -->"
CAPTIONS = {
    "sessions.svg": "Tokens per second of all sessions together",
    "latency.svg": "Tokens per second behind slow links",
}


def publish(page, text, folder):
    """Puts the tables between the marks of a page, and the plots of a folder into one beside the page
    that has its name."""
    before, start, rest = page.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise RuntimeError(f"{page} has no marks for results")
    plots = page.with_suffix("")
    lines = [text]
    for name, caption in CAPTIONS.items():
        if (folder / name).exists():
            plots.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, plots / name)
            lines.append(f"![{caption}]({plots.name}/{name})\n")
    page.write_text(before + start + "\n" + "\n".join(lines) + end + after)
