"""Line plots as SVG, without a library."""

from html import escape

from figures import best

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 36, 48
COLOURS = ["#1b6ca8", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444"]


def ceiling(value):
    """The least of 1, 2, 2.5 or 5 times a power of ten that is no less."""
    step = 10.0 ** len(str(int(value)))
    for part in [0.1, 0.2, 0.25, 0.5, 1.0]:
        if value <= part * step:
            return part * step
    return step


def lines(title, x_label, y_label, ticks, series):
    """`series` are (name, {tick: value}) with the ticks that a line has; ticks stand evenly."""
    top = ceiling(max([value for _, points in series for value in points.values()] + [1e-9]))
    inner, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(tick):
        return LEFT + inner * (ticks.index(tick) + 0.5) / len(ticks)

    def y(value):
        return TOP + tall * (1 - value / top)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for part in range(5):
        value = top * part / 4
        out.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for tick in ticks:
        out.append(
            f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick}</text>'
        )
    out.append(
        f'<text x="{LEFT + inner / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="14" y="{TOP + tall / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {TOP + tall / 2})">{escape(y_label)}</text>'
    )
    for at, (name, points) in enumerate(series):
        colour = COLOURS[at % len(COLOURS)]
        path = " ".join(f"{x(tick):.1f},{y(points[tick]):.1f}" for tick in ticks if tick in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for tick in ticks:
            if tick in points:
                out.append(
                    f'<circle cx="{x(tick):.1f}" cy="{y(points[tick]):.1f}" r="3" fill="{colour}">'
                    f"<title>{escape(name)}, {tick}: {points[tick]:.1f}</title></circle>"
                )
        below = TOP + 8 + 18 * at
        out.append(
            f'<path d="M{WIDTH - RIGHT + 8} {below}h16" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{WIDTH - RIGHT + 28}" y="{below + 4}">{escape(name)}</text>'
        )
    return "\n".join(out) + "\n</svg>\n"


def plots(results):
    """The drawings of what was measured, by file name."""
    found, middle = {}, results["medians"]
    series, seen = [], set()
    for contender, label in [
        ("sessions", "one process"),
        ("swarm3", "three workers"),
        ("llamacpp-q4_1", "llama.cpp, Q4_1"),
        ("llamacpp-q4_0", "llama.cpp, Q4_0"),
    ]:
        numbers = {
            int(figure.removeprefix("aggregate_"))
            for name, figures in middle.items()
            if name.split("/")[0] == contender
            for figure in figures
            if figure.startswith("aggregate_")
        }
        points = {}
        for number in numbers:
            figure = f"aggregate_{number}"
            points[number] = middle[best(middle, [contender], figure)][figure]
        if points:
            series.append((label, points))
            seen |= numbers
    if series:
        found["sessions.svg"] = lines(
            "Tokens per second of all sessions together, best thread count",
            "sessions",
            "tokens/s",
            sorted(seen),
            series,
        )
    links = (results.get("links") or {}).get("links", [])
    if links:
        series = []
        prompts = [prompt["prompt"] for prompt in links[0]["prompts"]]
        for at, prompt in enumerate(prompts):
            words = " ".join(prompt.split()[:2])
            for how, label in [("plain", "plain"), ("drafting", "guessing")]:
                points = {
                    link["delay_ms"]: link["prompts"][at][how]["tokens_per_second"]
                    for link in links
                    if link["delay_ms"] > 0
                }
                series.append((f"{label}, “{words}…”", points))
        bound = {
            link["delay_ms"]: link["bound_steps_per_second"] for link in links if link["delay_ms"] > 0
        }
        if bound:
            series.append(("bound without guesses", bound))
            found["latency.svg"] = lines(
                "Three workers behind slow links",
                "milliseconds from one end of a link to the other",
                "tokens/s",
                sorted(bound),
                series,
            )
    return found
