#!/usr/bin/env python3
"""Draws ../performance.svg from results.json; with --from, brings results.json up to date first.

    chart.py
    chart.py --from FILE.jsonl...

The files are what the yardstick writes: one JSON object per line and run. Each stands for itself, since absolute figures
drift with the machine; where two measure the same, the later one counts. What they do not measure stays as it is.
"""

import argparse
import json
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
CHART = HERE.parent / "performance.svg"

OURS, PEER, UWS, FLOOR = "tower-socketio", "socketioxide", "uws", "floor"

# The yardstick's labels; of several for one server, the first that was measured counts.
LABELS = {OURS: ["ours", OURS], PEER: [PEER], UWS: [UWS], FLOOR: ["epoll"]}

NAMES = {OURS: OURS, PEER: PEER, UWS: "Node.js on µWebSockets", FLOOR: "by hand on epoll"}

WORKLOADS = {
    "echo-1": "event with ack, 1 in flight",
    "echo-16": "event with ack, 16 in flight",
    "echo-rate": "event with ack, 10,000 a second",
    "echo-bin": "binary event with ack, 1 in flight",
    "echo-bin-8": "binary event with ack, 8 in flight",
    "cast-1": "broadcast to 500, 1 in flight",
    "cast-4": "broadcast to 500, 4 in flight",
    "connect": "connect by WebSocket",
    "connect-upgrade": "connect by polling, then upgrade",
    "poll-echo": "event with ack, by polling",
}


def least(file):
    """The least CPU per message, and bytes per idle connection, of each workload and label."""
    cpu, idle = {}, {}
    for line in file.read_text(encoding="utf-8").splitlines():
        run = json.loads(line) if line.strip() else {}
        if not run.get("ok"):
            continue
        workload, label = run["run"].split(":")[0], run["label"]
        if workload == "idle":
            found, value = idle, run.get("bytes_per_conn")
        else:
            found, value = cpu.setdefault(workload, {}), run.get("cpu_s_per_million", run.get("cpu_ms_per_1000"))
        if value is not None:
            found[label] = min(value, found.get(label, value))
    return cpu, idle


def pick(values, server):
    return next((values[label] for label in LABELS[server] if label in values), None)


def update(results, file):
    cpu, idle = least(file)
    for workload in WORKLOADS:
        measured = cpu.get(workload, {})
        peer = pick(measured, PEER)
        for server in (OURS, UWS, FLOOR):
            value = pick(measured, server)
            if peer and value is not None:
                results["cpu"].setdefault(workload, {})[server] = round(value / peer, 2)
    for server in LABELS:
        value = pick(idle, server)
        if value is not None:
            results["idle_bytes"][server] = round(value)


def dump(results):
    rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in results["cpu"].items())
    return f'{{\n  "cpu": {{\n{rows}\n  }},\n  "idle_bytes": {json.dumps(results["idle_bytes"])}\n}}\n'


WIDTH, LEFT, RIGHT, ROW, BAR = 800, 240, 705, 34, 18
LIMIT = 1.2  # where the axis of the CPU panel ends

# Light, then dark.
COLOURS = {
    ".text": ("fill", "#1f2328", "#f0f6fc"),
    ".muted": ("fill", "#59636e", "#9da7b3"),
    ".grid": ("stroke", "#d1d9e0", "#3d444d"),
    ".one": ("stroke", "#1f2328", "#f0f6fc"),
    ".ours": ("fill", "#0969da", "#58a6ff"),
    ".inside": ("fill", "#ffffff", "#0d1117"),
    ".peer": ("fill", "#8c959f", "#6e7681"),
    ".floor": ("stroke", "#d4531c", "#ffb000"),
    ".uws": ("fill", "#2c7a35", "#56d364"),
}


def style():
    def rules(column):
        return " ".join(f"{name} {{ {rule[0]}: {rule[column]} }}" for name, rule in COLOURS.items())

    return f"""<style>
text {{ font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }}
.small {{ font-size: 11px }}
.bold {{ font-weight: 600 }}
.head {{ font-size: 15px; font-weight: 600 }}
.end {{ text-anchor: end }}
.middle {{ text-anchor: middle }}
.grid {{ stroke-width: 1 }}
.one {{ stroke-width: 1.5 }}
.floor {{ stroke-width: 3 }}
{rules(1)}
@media (prefers-color-scheme: dark) {{ {rules(2)} }}
</style>"""


def text(x, y, content, classes):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(content)}</text>'


def line(x, top, bottom, classes):
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" class="{classes}"/>'


def bar(y, width, classes):
    return f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2" class="{classes}"/>'


def dot(x, y):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="uws"/>'


def arrow(x, y):
    """What is beyond the axis."""
    return f'<path d="M{x - 4:.1f} {y - 5:.1f}l10 5l-10 5z" class="uws"/>'


def figure(value):
    return f"{value:.2f}" if value < 2 else f"{value:.1f}"


def legend(y):
    """What bars, line and marks mean."""
    x = LEFT
    entries = (
        (f'<rect x="{x}" y="{y - 9}" width="14" height="10" rx="2" class="ours"/>', x + 19, NAMES[OURS]),
        (line(x + 122, y - 10, y + 2, "one"), x + 130, NAMES[PEER]),
        (line(x + 222, y - 10, y + 2, "floor"), x + 230, NAMES[FLOOR]),
        (dot(x + 340, y - 4), x + 348, NAMES[UWS]),
        (arrow(x + 495, y - 4), x + 507, "beyond"),
    )
    return [mark + text(at, y, name, "small text") for mark, at, name in entries]


def cpu_panel(cpu, top):
    def at(value):
        return LEFT + (RIGHT - LEFT) * value / LIMIT

    parts = [
        text(0, top + 15, "CPU per message, relative to socketioxide", "head text"),
        text(0, top + 33, "less is better", "muted"),
        *legend(top + 33),
    ]
    rows = [(name, cpu[name]) for name in WORKLOADS if name in cpu]
    first = top + 62
    bottom = first + ROW * len(rows)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(line(at(tick), first - 6, bottom, "grid"))
        parts.append(text(at(tick), bottom + 14, f"{tick:g}", "small middle muted"))
    marks = []
    for place, (name, row) in enumerate(rows):
        y = first + ROW * place
        middle = y + BAR / 2
        parts.append(text(0, middle - 2, name, "bold text"))
        parts.append(text(0, middle + 11, WORKLOADS[name], "small muted"))
        ours, floor, uws = (row.get(server) for server in (OURS, FLOOR, UWS))
        if ours is not None:
            width = at(min(ours, LIMIT)) - LEFT
            parts.append(bar(y, width, "ours"))
            # At the foot of the bar no mark is in its way.
            inside = width >= 40 and (floor is None or at(floor) >= LEFT + 40)
            x = LEFT + 6 if inside else at(max(ours, floor or 0)) + 8
            marks.append(text(x, middle + 4, figure(ours), "bold inside" if inside else "bold text"))
        if floor is not None:
            marks.append(line(at(min(floor, LIMIT)), y - 3, y + BAR + 3, "floor"))
        if uws is not None:
            x = at(min(uws, LIMIT))
            marks.append(dot(x, middle) if uws <= LIMIT else arrow(x, middle))
            marks.append(text(x + 12, middle + 4, figure(uws), "text"))
    return [*parts, line(at(1), first - 6, bottom, "one"), *marks], bottom + 14


def idle_panel(idle, top):
    rows = [(server, idle[server]) for server in (OURS, FLOOR, UWS, PEER) if idle.get(server) is not None]
    largest = max(value for _, value in rows)
    parts = [
        text(0, top + 15, "Memory per idle connection", "head text"),
        text(0, top + 33, "bytes; less is better", "muted"),
    ]
    first, row = top + 50, 26
    for place, (server, value) in enumerate(rows):
        y = first + row * place
        width = (RIGHT - LEFT) * value / largest
        classes = "ours" if server == OURS else "peer"
        parts.append(text(0, y + BAR / 2 + 4, NAMES[server], "bold text" if server == OURS else "text"))
        parts.append(bar(y, width, classes))
        parts.append(text(LEFT + width + 8, y + BAR / 2 + 4, f"{value:,}", "bold text" if server == OURS else "text"))
    return parts, first + row * len(rows)


def describe(results):
    def known(row, form):
        return ", ".join(f"{NAMES[server]} {form(row[server])}" for server in LABELS if row.get(server) is not None)

    cpu = "; ".join(f"{name}: {known(row, figure)}" for name, row in results["cpu"].items())
    idle = known(results["idle_bytes"], "{:,}".format)
    return f"CPU per message, where socketioxide is 1. {cpu}. Bytes per idle connection: {idle}."


def draw(results):
    cpu, bottom = cpu_panel(results["cpu"], 0)
    idle, bottom = idle_panel(results["idle_bytes"], bottom + 26)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -8 {WIDTH + 12} {bottom + 16:.0f}" '
        f'width="{WIDTH + 12}" role="img" aria-labelledby="title desc">'
    )
    title = '<title id="title">CPU per message and memory per connection of Socket.IO servers</title>'
    desc = f'<desc id="desc">{escape(describe(results))}</desc>'
    return "\n".join([head, title, desc, style(), *cpu, *idle, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="files", metavar="FILE.jsonl", nargs="+", type=Path, default=[])
    files = parser.parse_args().files
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"cpu": {}, "idle_bytes": {}}
    for file in files:
        update(results, file)
    if files:
        RESULTS.write_text(dump(results), encoding="utf-8")
    CHART.write_text(draw(results), encoding="utf-8")


if __name__ == "__main__":
    main()
