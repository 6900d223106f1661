#!/usr/bin/env python3
"""Compares runs of the harness: python3 bench/agree.py RUN.json RUN.json .. [> bench/results/THREE_RUNS.md]

For each figure of ramie: its ratio to rayon in each run (to bare coroutines or tokio where rayon has none), and whether the
runs agree: for each two of them, the ranges from smallest to largest overlap, or the medians differ by a tenth at most.
"""

import json
import sys

BASELINES = ["rayon", "corosensei", "tokio", "thread"]


def figures(path):
    with open(path, encoding="utf-8") as file:
        run = json.load(file)
    return run, {
        (section["workload"], metric["name"], entry["system"], entry["workers"]): entry["figures"]
        for section in run["sections"]
        for metric in section["metrics"]
        for entry in metric["entries"]
        if entry["figures"]
    }


def agree(a, b):
    overlap = a["min"] <= b["max"] and b["min"] <= a["max"]
    return overlap or abs(a["median"] - b["median"]) <= 0.1 * max(a["median"], b["median"])


def all_agree(runs, key):
    found = [run[key] for run in runs]
    return all(agree(found[i], found[j]) for i in range(len(found)) for j in range(i))


def main(paths):
    heads, runs = zip(*map(figures, paths))
    shared = set.intersection(*map(set, runs))
    own = sorted((key for key in shared if key[2] == "ramie"), key=lambda key: (key[0], key[1], key[3] or 0))
    share = lambda keys: f"{sum(all_agree(runs, key) for key in keys)} of {len(keys)}"
    print(f"# {len(paths)} runs side by side\n")
    print("Written by `bench/agree.py` from the JSON of runs of")
    print(f"\n```sh\n{heads[0]['command'].strip()} --json FILE\n```\n")
    machine = heads[0]["machine"]
    print(f"on {machine['cpu']}, {machine['cpus_usable']} usable CPUs, {machine['date']}.\n")
    print("Two runs agree about a figure if their ranges from smallest to largest overlap, or their medians differ by a tenth at")
    print(f"most. All runs agree about {share(shared)} figures of all systems, and {share(own)} of ramie's. What")
    print("else runs on the host makes everything 1.6 times slower for minutes: ratios within a run say more than times do.\n")
    print("| workload | workers | to | " + " | ".join(f"run {n + 1}" for n in range(len(runs))) + " | agree |")
    print("| --- | ---: | --- | " + " | ".join("---:" for _ in runs) + " | --- |")
    for key in own:
        workload, metric, _, workers = key
        base = next((b for b in BASELINES if all((workload, metric, b, workers) in run for run in runs)), None)
        if base is None:
            continue
        others = [run[(workload, metric, base, workers)]["median"] for run in runs]
        ratios = [f"{run[key]['median'] / other:.2f}" if other else "-" for run, other in zip(runs, others)]
        word = "yes" if all_agree(runs, key) else "no"
        print(f"| {workload}: {metric} | {workers} | {base} | " + " | ".join(ratios) + f" | {word} |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
