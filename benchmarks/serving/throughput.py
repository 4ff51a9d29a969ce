"""Throughput, latency, processor time and memory of each server, all of them up at once and asked in turn.

In each round, each case goes through all servers in random order, so that what else this machine does meets all alike. A ratio is taken
within each round; its median is told. The servers share one core, the client has the other.
"""

from __future__ import annotations

import contextlib
import json
import platform
import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import client
import numpy as np
import peers
import psutil
import servers
import yard

CASES = [(1, 1), (1, 16), (100, 1), (100, 16)]
#: What ours is held against, in what case: the least ratio of throughput.
REACH = {("mlflow models serve", 1): 4.0, ("mlflow models serve", 100): 4.0, ("FastAPI", 1): 0.5, ("FastAPI", 100): 0.95}
#: What costs at most which share of the throughput, beside what; a shadow writes to the log, and so needs it.
COSTS = [("modelyard, log", "modelyard", 0.05), ("modelyard, log + shadow", "modelyard, log", 0.15)]
P99 = 1.5  # ours at most so many times FastAPI's


@click.command(help=__doc__)
@yard.CACHE
@click.option("--rounds", default=7, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of each run of the client.")
@click.option("--only", multiple=True, help="These servers; default: all.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the results there.")
def main(cache: Path, rounds: int, seconds: float, only: Sequence[str], file: Path | None) -> None:
    made, oha = yard.make(cache), peers.oha(cache)
    runs: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        up = [stack.enter_context(servers.running(name, made, cache)) for name in only or servers.KINDS]
        for each in up:
            each.check(1)
            each.check(100)
            client.press(oha, each, rows=1, clients=16, seconds=1)  # warm
        for number in range(rounds):
            for rows, clients in CASES:
                for each in random.sample(up, len(up)):
                    found = client.press(oha, each, rows=rows, clients=clients, seconds=seconds)
                    runs.append({"server": each.name, "round": number, "rows": rows, "clients": clients, **asdict(found)})
            click.echo(f"round {number + 1} of {rounds}, load {psutil.getloadavg()[0]:.1f}", err=True)
        memory = {each.name: round(each.memory(), 1) for each in up}
    about = {"date": datetime.now(UTC).date().isoformat(), "cores": psutil.cpu_count(), "python": platform.python_version()}
    document = {"about": about | {"rounds": rounds, "seconds": seconds}, "memory_mb": memory, "runs": runs}
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1) + "\n")
    click.echo(tables(document))


def tables(document: dict[str, Any]) -> str:
    """Markdown: each server against FastAPI, and ours held against what it must reach."""
    runs, names = document["runs"], list(document["memory_mb"])
    base = "FastAPI" if "FastAPI" in names else names[0]
    head = [f"{rows} x {clients}" for rows, clients in CASES]
    lines = [
        f"Throughput, as a ratio to {base} (rows x clients), and memory:",
        "",
        f"| server | {' | '.join(head)} | MB |",
        "|---" * (len(head) + 2) + "|",
    ]
    for name in names:
        ratios = [f"{_ratio(runs, name, base, case, 'per_second'):.2f}" for case in CASES]
        lines.append(f"| {name} | {' | '.join(ratios)} | {document['memory_mb'][name]:.0f} |")
    lines += [
        "",
        "p50 / p99 in ms, and processor time of the server in ms a request (medians):",
        "",
        f"| server | {' | '.join(head)} |",
        "|---" * (len(head) + 1) + "|",
    ]
    for name in names:
        cells = []
        for case in CASES:
            p50, p99, cpu = (median(_values(runs, name, case, key)) for key in ("p50_ms", "p99_ms", "cpu_ms"))
            cells.append(f"{p50:.1f} / {p99:.0f}, {cpu:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *_reached(runs, names)]
    failed = [f"{run['server']}: {run['other']}" for run in runs if run["other"]]
    return "\n".join([*lines, "", f"Answers other than 200: {'; '.join(failed) or 'none'}."])


def _reached(runs: list[dict[str, Any]], names: Sequence[str]) -> list[str]:
    lines = ["| ours against | case | ratio (quartiles) | of processor time | reach | |", "|---|---|---|---|---|---|"]
    for (peer, wanted), least in REACH.items():
        for case in CASES:
            if case[0] != wanted or not {peer, "modelyard"} <= set(names):
                continue
            low, mid, high = np.percentile(_ratios(runs, "modelyard", peer, case, "per_second"), [25, 50, 75])
            cpu = _ratio(runs, peer, "modelyard", case, "cpu_ms")
            met = "reached" if mid >= least else "**MISSED**"
            lines.append(f"| {peer} | {_case(case)} | {mid:.2f} ({low:.2f}-{high:.2f}) | {cpu:.2f} | >= {least} | {met} |")
    for case in CASES:
        if {"FastAPI", "modelyard"} <= set(names):
            low, mid, high = np.percentile(_ratios(runs, "modelyard", "FastAPI", case, "p99_ms"), [25, 50, 75])
            met = "reached" if mid <= P99 else "**MISSED**"
            lines.append(f"| FastAPI, p99 | {_case(case)} | {mid:.2f} ({low:.2f}-{high:.2f}) | | <= {P99} | {met} |")
    for name, without, most in COSTS:
        for case in CASES:
            if {name, without} <= set(names):
                low, mid, high = 1 - np.percentile(_ratios(runs, name, without, case, "per_second"), [75, 50, 25])
                cpu = 1 - _ratio(runs, without, name, case, "cpu_ms")
                met = "reached" if mid <= most else "**MISSED**"
                shown = f"{mid:.0%} ({low:.0%} to {high:.0%}) | {cpu:.0%}"
                lines.append(f"| cost of the {name.split()[-1]} | {_case(case)} | {shown} | <= {most:.0%} | {met} |")
    return lines


def _case(case: tuple[int, int]) -> str:
    return f"{case[0]} {'row' if case[0] == 1 else 'rows'}, {case[1]} {'client' if case[1] == 1 else 'clients'}"


def _ratio(runs: list[dict[str, Any]], name: str, other: str, case: tuple[int, int], key: str) -> float:
    return median(_ratios(runs, name, other, case, key))


def _ratios(runs: list[dict[str, Any]], name: str, other: str, case: tuple[int, int], key: str) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(_values(runs, name, case, key), _values(runs, other, case, key), strict=True)]


def _values(runs: list[dict[str, Any]], name: str, case: tuple[int, int], key: str) -> list[float]:
    return [run[key] for run in runs if run["server"] == name and (run["rows"], run["clients"]) == case]


if __name__ == "__main__":
    main()
