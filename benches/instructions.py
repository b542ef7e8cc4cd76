"""Compares the counts of `instructions.rs`, JSON on the standard input, with `instructions.txt`, or rewrites that file."""

import json
import pathlib
import subprocess
import sys

BASELINE = pathlib.Path(__file__).with_suffix(".txt")
# Counts of one build differ by 0.15 %, with the seeds of hash tables. Code that is only moved adds 0.6 % at most.
LIMIT = 1.03


def measured(lines):
    """Instructions of one operation, by the name of the bench."""
    counts = {}
    for line in lines:
        bench = json.loads(line)
        name, _, times = bench["id"].rpartition("x")
        name = f"{bench['function_name']} {name.replace('_', ' ')}".rstrip()
        total = bench["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"]
        counts[name] = round(total / int(times))
    return counts


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()


def rewrite(counts):
    lines = [f"# {compiler()}"] + [f"{name}: {count}" for name, count in counts.items()]
    BASELINE.write_text("\n".join(lines) + "\n")


def compare(counts):
    header, *lines = BASELINE.read_text().splitlines()
    baseline = {name: int(count) for name, count in (line.split(": ") for line in lines)}
    failures = []
    for name in baseline | counts:
        old, new = baseline.get(name), counts.get(name)
        if old is None or new is None:
            failures.append(f"{name}: {'not in the baseline' if old is None else 'not measured'}")
            continue
        print(f"{name}: {old} -> {new} ({new / old - 1:+.2%})")
        if new < old / 2:
            failures.append(f"{name}: {old} -> {new} instructions, so few that it may measure something else")
        if new > old * LIMIT:
            failures.append(f"{name}: {old} -> {new} instructions, more than {LIMIT - 1:.0%} above the baseline")
    if failures and header != f"# {compiler()}":
        failures.append(f"the baseline was made by {header[2:]}, this is {compiler()}")
    return failures


if __name__ == "__main__":
    counts = measured(sys.stdin)
    if sys.argv[1:] == ["--rewrite"]:
        rewrite(counts)
    elif failures := compare(counts):
        sys.exit("\n".join(failures + ["`make baseline` accepts the new counts"]))
