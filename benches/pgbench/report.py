"""The figures of all rounds as Markdown tables and as JSON: medians with the least and the most, and ratios of medians."""

import statistics

BOUNCERS = ("pgbouncer-session", "pgbouncer-transaction")


def summary(figures):
    """`{"tps": {"min", "median", "max", "rounds"}, …}` of the rounds of one way."""
    names = sorted({name for one in figures for name in one})
    out = {}
    for name in names:
        values = [one[name] for one in figures if name in one]
        out[name] = {"min": min(values), "median": statistics.median(values), "max": max(values), "rounds": values}
    return out


def cell_report(cell, ways):
    """A cell with its summaries and the ratios of its main figures to other ways."""
    told = {way: summary(figures) for way, figures in ways.items() if figures}
    for of_way in told.values():
        for base in ("direct", *BOUNCERS):
            ratios = {
                name: value["median"] / told[base][name]["median"]
                for name, value in of_way.items()
                if base in told and told[base].get(name, {}).get("median")
            }
            if ratios:
                of_way.setdefault("ratios", {})[base] = ratios
    return {**cell, "ways": told}


def number(value, digits=None):
    if value is None:
        return "–"
    if digits is None:
        digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def spread(way, name):
    value = way.get(name)
    return f"{number(value['median'])} ({number(value['min'])}–{number(value['max'])})" if value else "–"


def median(way, name):
    return number(way.get(name, {}).get("median"))


def ratio(way, name, *bases):
    found = [way.get("ratios", {}).get(base, {}).get(name) for base in bases]
    return " / ".join(number(one, 2) for one in found)


PGBENCH = (
    ["way", "tps (min–max)", "of direct", "of PgBouncer", "p50 ms", "p99 ms (min–max)", "of PgBouncer"]
    + ["CPU s/1,000 (min–max)", "of PgBouncer", "RSS MB", "peak MB"]
)
RESULTS = ["way", "MB/s (min–max)", "of direct", "of PgBouncer", "seconds", "CPU s/GB (min–max)", "of PgBouncer", "RSS MB", "peak MB"]
IDLE = ["way", "RSS MB (min–max)", "peak MB"]


def row(kind, name, way):
    if kind == "idle":
        return [name, spread(way, "rss"), median(way, "peak")]
    main = "rate" if kind == "result" else "tps"
    cells = [name, spread(way, main), ratio(way, main, "direct"), ratio(way, main, *BOUNCERS)]
    if kind == "result":
        cells += [median(way, "seconds")]
    else:
        cells += [median(way, "p50"), spread(way, "p99"), ratio(way, "p99", *BOUNCERS)]
    return cells + [spread(way, "cpu"), ratio(way, "cpu", *BOUNCERS), median(way, "rss"), median(way, "peak")]


def section(cell):
    """What a table is of."""
    kind = {"pgbench": cell.get("script"), "result": "results", "idle": "idle sessions"}.get(cell["kind"], cell["kind"])
    return f"{kind}, {'TLS' if cell['tls'] else 'no TLS'}"


def label(cell):
    """Which of them a row is of."""
    if cell["kind"] == "result":
        return f"{cell['form']} {cell['megabytes']} MB"
    return f"{cell['mode']} {cell['clients']}" if "mode" in cell else str(cell["clients"])


HELD = "sqlveil-held"


def pairs(cell):
    """Ratios of the ways beside `sqlveil-held` to it, round by round: what the machine does to both is left out. Median and quartiles."""
    held = cell["ways"].get(HELD, {})
    for name in ("sqlveil-again", "sqlveil-audited", "sqlveil-traced", "sqlveil-transaction"):
        cells = []
        for figure in ("tps", "cpu"):
            mine = cell["ways"].get(name, {}).get(figure, {}).get("rounds", [])
            ratios = [one / other for one, other in zip(mine, held.get(figure, {}).get("rounds", [])) if other]
            if len(ratios) > 1:
                low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
                cells.append(f"{middle:.3f} ({low:.3f}–{high:.3f})")
        if cells:
            yield [label(cell), name, *cells]


def beside(cells):
    rows = [row for cell in cells if cell["kind"] == "pgbench" for row in pairs(cell)]
    if rows:
        head = ["", "way", "tps of sqlveil-held (quartiles)", "CPU of sqlveil-held (quartiles)"]
        yield from ["", "### round by round", "", f"| {' | '.join(head)} |", "|---|---|---:|---:|"]
        yield from (f"| {' | '.join(row)} |" for row in rows)


def markdown(machine, cells):
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in machine.items())]
    before = None
    for cell in cells:
        head = ["", *({"result": RESULTS, "idle": IDLE}.get(cell["kind"], PGBENCH))]
        if section(cell) != before:
            before = section(cell)
            lines += ["", f"### {before}", "", f"| {' | '.join(head)} |", "|---|---" + "|---:" * (len(head) - 2) + "|"]
        for name, way in cell["ways"].items():
            lines.append(f"| {label(cell)} | {' | '.join(row(cell['kind'], name, way))} |")
    lines += beside(cells)
    return "\n".join(lines)
