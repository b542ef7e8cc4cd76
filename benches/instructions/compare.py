"""Compares counts of `main.rs`, files of JSON. The first file has those of all features, and the second one those without observation. With
one file, its counts are written to `baseline.txt`."""

import json
import pathlib
import subprocess
import sys

BASELINE = pathlib.Path(__file__).with_name("baseline.txt")
# Counts of one build differ by 0.15 %, with the seeds of hash tables. Code that is only moved adds 0.6 % at most.
LIMIT = 1.03
# What observes costs, while there is no subscriber and no recorder: a branch here and there, and what is inlined because of it.
UNOBSERVED_LIMIT = 1.03


def measured(path):
    """Instructions of one operation, by the name of the bench."""
    counts = {}
    for line in pathlib.Path(path).read_text().splitlines():
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


def compare_with_baseline(counts):
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
    return failures + ["`make baseline` accepts the new counts"] if failures else []


def compare_with_unobserved(counts, unobserved):
    failures = []
    for name, count in counts.items():
        change = f"{name}: {unobserved[name]} -> {count} ({count / unobserved[name] - 1:+.2%}) with `tracing` and `metrics`"
        print(change)
        if count > unobserved[name] * UNOBSERVED_LIMIT:
            failures.append(f"{change}, more than {UNOBSERVED_LIMIT - 1:.0%}")
    return failures


if __name__ == "__main__":
    counts = measured(sys.argv[1])
    if len(sys.argv) == 2:
        rewrite(counts)
    elif failures := compare_with_baseline(counts) + compare_with_unobserved(counts, measured(sys.argv[2])):
        sys.exit("\n".join(failures))
