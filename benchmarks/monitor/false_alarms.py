"""How often each tool alarms on two samples of the same data: no column has changed, and rows are independent."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import flights
import ours
import output
import pandas as pd
import variants
from splits import SIZES, split

Tally = dict[str, Any]
Tallies = dict[str, Tally]  # size -> how many checks alarmed

LIMIT = 30  # of 2,000 checks of a whole table


def ours_on(frame: pd.DataFrame, checks: int) -> Tallies:
    """Our checks of every size, row numbers drawn for each; the fast way is compared with the plain one first."""
    pool = ours.Pool(frame)
    found: Tallies = {}
    for reference, current in SIZES:
        for number in range(3):
            before, now = split(len(frame), reference, current, number)
            plain = ours.check(ours.profiled(frame.iloc[before].reset_index(drop=True)), frame.iloc[now].reset_index(drop=True))
            if pool.check(before, now) != plain:
                sys.exit(f"Split {number} of {reference}:{current}: the pool's check differs from that of the rows.")
        start = time.perf_counter()
        key = f"{reference}:{current}"
        all_found = [ours.alarms(pool.check(*split(len(frame), reference, current, n))) for n in range(checks)]
        found[key] = variants.tallied(variants.OURS, all_found)
        click.echo(f"{variants.OURS} {key}: {time.perf_counter() - start:.0f} s", err=True)
    return found


def peer_on(name: str, frame: pd.DataFrame, cache: Path, checks: dict[str, int]) -> Tallies:
    """A peer's checks: the first of the same splits."""
    found: Tallies = {}
    for reference, current in SIZES:
        key, start = f"{reference}:{current}", time.perf_counter()
        pairs = ((frame.iloc[a], frame.iloc[b]) for a, b in (split(len(frame), reference, current, n) for n in range(checks[key])))
        found[key] = variants.tallied(name, list(variants.checks(name, cache, pairs)))
        click.echo(f"{name} {key}: {time.perf_counter() - start:.0f} s", err=True)
    return found


def report(figures: dict[str, Tallies]) -> str:
    """The tables."""
    labels = [label for label in variants.LABELS if variants.tool_of(label) in figures]
    rows = []
    for label in labels:
        tallies = [figures[variants.tool_of(label)].get(f"{a}:{b}") for a, b in SIZES]
        rows.append([label, *(found and output.share(found["any"][label], found["checks"]) for found in tallies)])
    text = output.table(["checks that alarm", *(f"{a:,}:{b:,}" for a, b in SIZES)], rows)
    if variants.OURS not in figures:
        return text
    mine = figures[variants.OURS]
    questions = [[key, *(found["questions"].get(q, 0) for q in ours.QUESTIONS), _most(found)] for key, found in mine.items()]
    text += "\n" + output.table([f"{variants.OURS}: checks with an alarm by", *ours.QUESTIONS, "columns most often"], questions)
    worst = max(found["any"][variants.OURS] * 2_000 / found["checks"] for found in mine.values())
    return text + f"\nTarget: at most {LIMIT} of 2,000 at each size: {'reached' if worst <= LIMIT else 'MISSED'}.\n"


def _most(found: Tally) -> str:
    ranked = sorted(found["columns"][variants.OURS].items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{column} {n}" for column, n in ranked)


@click.command(help=__doc__)
@flights.CACHE
@output.JSON
@click.option("--checks", default=2_000, show_default=True, help="Of ours, at each size.")
@click.option("--peer-checks", default=25, show_default=True, help="Of each peer, at each size.")
@click.option("--peer-checks-power", default=40, show_default=True, help="Of each peer at 50,000:5,000, where power is measured.")
@click.option("--only", multiple=True, type=click.Choice(variants.TOOLS), help="Run these tools only.")
def main(cache: Path, json_file: Path | None, checks: int, peer_checks: int, peer_checks_power: int, only: tuple[str, ...]) -> None:
    frame = flights.months(1, 6)[flights.COLUMNS]
    figures = output.read(json_file).get("alarms", {})
    for name in only or variants.TOOLS:
        if name == variants.OURS:
            figures[name] = ours_on(frame, checks)
        else:
            numbers = {f"{a}:{b}": peer_checks_power if (a, b) == (50_000, 5_000) else peer_checks for a, b in SIZES}
            figures[name] = peer_on(name, frame, cache, numbers)
        output.write(json_file, {"alarms": figures})
    click.echo(report({name: figures[name] for name in variants.TOOLS if name in figures}))


if __name__ == "__main__":
    main()
