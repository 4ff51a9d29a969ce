"""How often a better challenger is promoted, by how much better it is, by days, and by how it was made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import bank as banks
import click
import numpy as np
import recipe
from bank import FRESH, KINDS, Bank
from pairs import CHECKED, compared, confirm, matched, parallel, within
from recipe import CACHE, output

SIZES = (30, 91, 182)
GAINS = (0.01, 0.02)
ALL = "all pairs"
RULES = ("modelyard", "t over influences", "studentized", "percentile")
BEHIND = 0.05  # points that ours may stay behind t
load = cache(banks.load)


def sorts(bank: Bank, kind: str) -> tuple[np.ndarray, int]:
    """Which pairs are of that kind, and the first day of their pool: its models against those of other seeds or hyper-parameters."""
    if kind == ALL:
        return within(~bank.later(), ~bank.later()), 0
    plain = (bank.kind == KINDS[0]) | (bank.kind == KINDS[1])
    return within(bank.kind == kind, plain), recipe.JULY - recipe.APRIL if kind == FRESH else 0


@cache
def _pairs(cache_folder: Path, kind: str, gain: float) -> np.ndarray:
    bank = load(cache_folder)
    usable, first = sorts(bank, kind)
    return matched(bank, gain, usable, first)


def drawn(cache_folder: Path, kind: str, gain: float, size: int, number: int) -> list[bool]:
    """Which rule promotes such a pair on so many days of the pool."""
    bank, draw = load(cache_folder), np.random.default_rng([3, round(1000 * gain), size, number])
    pair, first = draw.choice(_pairs(cache_folder, kind, gain)), sorts(bank, kind)[1]
    days = draw.integers(first, len(bank.late), size)
    found = compared(bank, pair, days)
    if number < CHECKED and size == SIZES[0]:
        confirm(bank, pair, days, found)
    return [found.ours[0] > 0, found.t[0] > 0, found.studentized[0] > 0, found.percentile[0] > 0]


def measure(cache_folder: Path, draws: int, by_kind: int, processes: int) -> Iterator[dict[str, Any]]:
    """One line for each kind of pairs, gain and number of days."""
    for kind in (ALL, *KINDS):
        for gain in GAINS:
            pairs = len(_pairs(cache_folder, kind, gain))
            for size in SIZES if pairs else ():
                many = draws if kind == ALL else by_kind
                counts = np.sum(parallel(partial(drawn, cache_folder, kind, gain, size), range(many), processes), axis=0)
                promoted = dict(zip(RULES, counts.tolist(), strict=True))
                yield {"kind": kind, "gain": gain, "days": size, "pairs": pairs, "draws": many, "promoted": promoted}


def report(figures: list[dict[str, Any]]) -> str:
    """The tables, and whether the target is reached."""
    text = ""
    for title, some in [("All pairs", [f for f in figures if f["kind"] == ALL]), ("By kind", [f for f in figures if f["kind"] != ALL])]:
        lines = [
            [f["kind"], f["pairs"], f"{f['gain']:+.2f}", f["days"], f["draws"], *(f"{f['promoted'][r] / f['draws']:.1%}" for r in RULES)]
            for f in some
        ]
        text += f"{title}\n\n" + output.table(["pairs", "number", "truly better by", "days", "draws", *RULES], lines) + "\n"
    for f in figures:
        if f["kind"] == ALL:
            behind = (f["promoted"]["t over influences"] - f["promoted"]["modelyard"]) / f["draws"]
            verdict = "reached" if behind <= BEHIND else "MISSED"
            text += f"- {f['gain']:+.2f}, {f['days']} days: {100 * behind:+.1f} points behind t, target at most 5: {verdict}.\n"
    return text


@click.command(help=__doc__)
@CACHE
@output.JSON
@click.option("--draws", default=2_000, show_default=True, help="Of all pairs, each.")
@click.option("--by-kind", default=200, show_default=True, help="Of each kind of pairs, each.")
@click.option("--processes", default=2, show_default=True)
def main(cache: Path, json_file: Path | None, draws: int, by_kind: int, processes: int) -> None:
    start, figures = time.perf_counter(), []
    for line in measure(cache, draws, by_kind, processes):
        figures.append(line)
        output.write(json_file, {"power": figures})
        click.echo(f"{line}: {time.perf_counter() - start:.0f} s", err=True)
    click.echo(report(figures))


if __name__ == "__main__":
    main()
