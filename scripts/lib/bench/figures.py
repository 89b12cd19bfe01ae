"""What is computed from samples.

Each round has a sample of every variant of every contender: "CONTENDER/THREADS", with a word more where
a contender has further variants. A ratio is taken in each round, between the variants whose medians
are best, and its median is reported: what slows the machine for a while hits both sides.
"""

from statistics import median

# Key of a ratio: (figure, who is above, who is below). Names are of contenders.
RATIOS = {
    "decode_vs_llamacpp_q4_1": ("decode", ["exact"], ["llamacpp-q4_1"]),
    "decode_vs_llamacpp_best": ("decode", ["exact"], ["llamacpp-q4_1", "llamacpp-q4_0"]),
    "decode_q4_0_vs_llamacpp_q4_0": ("decode", ["exact-q4_0"], ["llamacpp-q4_0"]),
    "prefill_vs_llamacpp": ("prefill", ["exact"], ["llamacpp-q4_1"]),
    "prefill_vs_llamacpp_best": ("prefill", ["exact"], ["llamacpp-q4_1", "llamacpp-q4_0"]),
    "swarm3_vs_single": ("decode", ["swarm3"], ["exact"]),
    "swarm3_prefill_vs_single": ("prefill", ["swarm3"], ["exact"]),
    "swarm3_vs_petals": ("decode", ["swarm3"], ["petals"]),
    "aggregate8_vs_llamacpp": ("aggregate_8", ["sessions"], ["llamacpp-q4_1"]),
    "aggregate8_vs_llamacpp_best": (
        "aggregate_8",
        ["sessions"],
        ["llamacpp-q4_1", "llamacpp-q4_0"],
    ),
    "swarm3_aggregate8_vs_llamacpp": ("aggregate_8", ["swarm3"], ["llamacpp-q4_1"]),
    "decode_vs_torch": ("decode", ["exact"], ["torch"]),
    "decode_vs_candle": ("decode", ["exact"], ["candle", "candle-q4_1"]),
    "exact_vs_burn": ("decode", ["exact"], ["engine"]),
}
# The keys that results.json always has, null where they could not be taken.
PROMISED = [
    "decode_vs_llamacpp_q4_1",
    "decode_vs_llamacpp_best",
    "prefill_vs_llamacpp",
    "swarm3_vs_single",
    "swarm3_vs_petals",
    "aggregate8_vs_llamacpp",
    "latency_bound_100ms",
    "worker_rss_ratio",
    "reproducible_cost",
]


def contender(name):
    return name.split("/")[0]


def medians(rounds):
    """The median of every figure of every variant, over the rounds that have it; of a truth, whether it
    always held."""
    found = {}
    for samples in rounds:
        for name, figures in samples.items():
            for figure in figures:
                found.setdefault(name, {}).setdefault(figure, []).append(figures[figure])
    return {
        name: {
            figure: all(values) if isinstance(values[0], bool) else median(values)
            for figure, values in figures.items()
        }
        for name, figures in found.items()
    }


def best(middle, contenders, figure):
    """The variant of these contenders whose median is highest, None where none has the figure."""
    names = [name for name in middle if contender(name) in contenders and figure in middle[name]]
    return max(names, key=lambda name: middle[name][figure], default=None)


def ratio(rounds, middle, figure, above, below):
    """(value, None), or (None, why not)."""
    ours, theirs = best(middle, above, figure), best(middle, below, figure)
    for name, wanted in [(ours, above), (theirs, below)]:
        if name is None:
            return None, f"{' or '.join(wanted)} was not measured"
    pairs = [
        samples[ours][figure] / samples[theirs][figure]
        for samples in rounds
        if figure in samples.get(ours, {}) and figure in samples.get(theirs, {})
    ]
    if not pairs:
        return None, f"no round has both {ours} and {theirs}"
    return median(pairs), None


def ratios(rounds, middle):
    """Every ratio, and why those that are null are."""
    values, reasons = {}, {}
    for key, (figure, above, below) in RATIOS.items():
        values[key], reason = ratio(rounds, middle, figure, above, below)
        if reason:
            reasons[key] = reason
    return values, reasons


def worker_memory(middle):
    """Of the worst worker: resident bytes over weights and configured cache, in the worst variant."""
    values = [
        figures["worker_rss_ratio"] for figures in middle.values() if "worker_rss_ratio" in figures
    ]
    return max(values, default=None)


def latency_bound(links):
    """The least share of what 100 ms a link allow that plain decoding reaches, over prompts."""
    shares = [
        prompt["plain"]["of_bound"]
        for link in (links or {}).get("links", [])
        if link["delay_ms"] == 100
        for prompt in link["prompts"]
    ]
    return min(shares, default=None)


def common_prefix(one, other):
    """Tokens until two answers differ."""
    same = 0
    for a, b in zip(one, other):
        if a != b:
            break
        same += 1
    return same
