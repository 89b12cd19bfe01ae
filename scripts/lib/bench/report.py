"""The Markdown table of scripts/bench."""

from statistics import median

LABELS = {
    "engine": "engine on Burn, one process",
    "exact": "engine on the reproducible kernels, one process",
    "llamacpp": "llama.cpp",
    "swarm3": "three local workers",
}
RATIOS = {
    "swarm3_vs_single": "decode, three workers : one process, both on Burn",
    "swarm3_prefill_vs_single": "prefill, three workers : one process, both on Burn",
    "decode_vs_llamacpp_q4_1": "decode, reproducible kernels : llama.cpp on the same Q4_1 file",
    "prefill_vs_llamacpp": "prefill, reproducible kernels : llama.cpp on the same Q4_1 file",
    "burn_decode_vs_llamacpp_q4_1": "decode, Burn : llama.cpp",
    "burn_prefill_vs_llamacpp": "prefill, Burn : llama.cpp",
}


def spread(results, name, figure):
    """Median, lowest and highest of a figure."""
    values = [samples[name][figure] for samples in results["rounds"]]
    return f"{median(values):.1f} ({min(values):.1f} – {max(values):.1f})"


def table(results):
    """Markdown of results.json."""
    prompts, machine, versions = results["prompts"], results["machine"], results["versions"]
    loads = [samples["load_average"] for samples in results["rounds"]]
    lines = [
        f"Measured {results['date'][:16].replace('T', ' ')} UTC by `{results['command']}` on "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}.",
        "Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()) + ".",
        f"Load average before the first round {results['load_average_before']:.1f}, after each round "
        + ", ".join(f"{load:.1f}" for load in loads)
        + ".",
        "",
        f"Tokens per second, median (lowest – highest) of {len(loads)} rounds. Decode: "
        f"{prompts['decode_tokens']} tokens after a prompt of {prompts['decode_prompt_tokens']}; "
        f"prefill: a prompt of {prompts['prefill_prompt_tokens']}.",
        "",
        "| | threads | decode | prefill |",
        "|---|---|---|---|",
    ]
    for name in sorted(results["medians"], key=lambda name: (list(LABELS).index(name.split("/")[0]), name)):
        contender, threads = name.split("/")
        decode, prefill = spread(results, name, "decode"), spread(results, name, "prefill")
        lines.append(f"| {LABELS[contender]} | {threads} | {decode} | {prefill} |")
    lines += [
        "",
        "Ratios, median over rounds, each side at its best thread count:",
        "",
        "| | ratio |",
        "|---|---|",
    ]
    lines += [f"| {RATIOS[name]} | {value:.3f} |" for name, value in results["ratios"].items()]
    lines += [
        "",
        "Three workers, medians:",
        "",
        "| threads | peak memory of the largest worker | request's session open to first token | demo's "
        "start to first token | same tokens as one process |",
        "|---|---|---|---|---|",
    ]
    for name, middle in results["medians"].items():
        if name.startswith("swarm3/"):
            same = "yes" if middle["same_tokens_as_one_process"] else "NO"
            lines.append(
                f"| {name.split('/')[1]} | {middle['worker_peak_rss_bytes'] / 2**20:.0f} MiB | "
                f"{middle['first_token_seconds']:.2f} s | "
                f"{middle['start_to_first_token_seconds']:.1f} s | {same} |"
            )
    return "\n".join(lines) + "\n"
