"""How often each tool finds a known fault at 50,000:5,000, with its own false alarms on that column beside (from false_alarms.py)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import faults
import flights
import ours
import output
import pandas as pd
import variants
from splits import split

REFERENCE, CURRENT = 50_000, 5_000
QUIET = 0.05  # a peer whose false alarms on the column are more often than this says yes to all

Tally = dict[str, Any]
Power = dict[str, Tally]  # number of the set of faults -> how many checks alarmed


def pairs(frame: pd.DataFrame, group: tuple[faults.Fault, ...], checks: int):
    """Reference tables, and current ones with all faults of a set."""
    for number in range(checks):
        before, now = split(len(frame), REFERENCE, CURRENT, number)
        yield frame.iloc[before].reset_index(drop=True), faults.spoiled(frame.iloc[now].reset_index(drop=True), group, number)


def ours_on(frame: pd.DataFrame, checks: int) -> Power:
    """Our checks of all sets; one profile for the three."""
    found: list[list[variants.Found]] = [[] for _ in faults.SETS]
    for number in range(checks):
        before, now = split(len(frame), REFERENCE, CURRENT, number)
        reference, current = ours.profiled(frame.iloc[before].reset_index(drop=True)), frame.iloc[now].reset_index(drop=True)
        for i, group in enumerate(faults.SETS):
            found[i].append(ours.alarms(ours.check(reference, faults.spoiled(current, group, number))))
    return {str(i): variants.tallied(variants.OURS, checks) for i, checks in enumerate(found)}


def report(figures: dict[str, Power], quiet: dict[str, dict[str, Tally]]) -> str:
    """One line a fault; per tool its power, and its own false alarms on that column in brackets."""
    labels = [label for label in variants.LABELS if variants.tool_of(label) in figures]
    rows, missed, short = [], [], []
    for i, group in enumerate(faults.SETS):
        for fault in group:
            cells, mine = [], 0.0
            for label in labels:
                name = variants.tool_of(label)
                power = _rate(label, figures[name][str(i)], fault.column)
                noise = _rate(label, quiet[name][f"{REFERENCE}:{CURRENT}"], fault.column)
                cells.append(f"{power:.2f} ({100 * noise:.1f} %)" if noise <= QUIET else f"({power:.2f}; {100 * noise:.0f} %)")
                if label == variants.OURS:
                    mine = power
                elif noise <= QUIET and mine < power and not fault.control:
                    missed.append(f"{fault.name}: {mine:.2f}, {label} {power:.2f}")
            if mine < 1 and not fault.control:
                short.append(f"{fault.name} {mine:.2f}")
            rows.append([fault.name, *cells])
    text = output.table(["fault", *labels], rows)
    text += "\nIn brackets: the tool's own false alarms on that column; where they are above 5 %, the power is in brackets too.\n"
    text += f"\nNot always found by {variants.OURS}: {'; '.join(short) or 'none'}.\n"
    verdict = "reached" if not missed else "MISSED: " + "; ".join(missed)
    return text + f"\nTarget: at least the power of every tool whose own false alarms there are at most 5 %: {verdict}.\n"


def _rate(label: str, found: Tally, column: str) -> float:
    return found["columns"][label].get(column, 0) / found["checks"]


@click.command(help=__doc__)
@flights.CACHE
@output.JSON
@click.option("--false-alarms", required=True, type=click.Path(path_type=Path, exists=True), help="What false_alarms.py --json wrote.")
@click.option("--checks", default=100, show_default=True, help="Of ours.")
@click.option("--peer-checks", default=25, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(variants.TOOLS), help="Run these tools only.")
def main(cache: Path, json_file: Path | None, false_alarms: Path, checks: int, peer_checks: int, only: tuple[str, ...]) -> None:
    frame = flights.months(1, 6)[flights.COLUMNS]
    quiet = output.read(false_alarms)["alarms"]
    figures = output.read(json_file).get("power", {})
    for name in only or variants.TOOLS:
        if name == variants.OURS:
            figures[name] = ours_on(frame, checks)
        else:
            figures[name] = {
                str(i): variants.tallied(name, list(variants.checks(name, cache, pairs(frame, group, peer_checks))))
                for i, group in enumerate(faults.SETS)
            }
        output.write(json_file, {"power": figures})
        click.echo(f"{name}: done", err=True)
    ready = {name: figures[name] for name in variants.TOOLS if name in figures}
    if missing := [name for name in ready if name not in quiet]:
        sys.exit(f"{false_alarms} has no false alarms of {', '.join(missing)}.")
    click.echo(report(ready, quiet))


if __name__ == "__main__":
    main()
