"""How often a challenger that is no better is promoted: an exact null, and pairs whose true difference is known."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import bank as banks
import click
import numpy as np
from bank import Bank
from matrices import Answer, answer, check, delong, wins
from pairs import CHECKED, compared, confirm, matched, parallel, rows, within
from recipe import CACHE, output

DAYS = 30
RULES = ("modelyard", "t over influences", "studentized", "percentile", "row-wise DeLong", ">=")
LIMITS = {"exact null": 0.04, "0": 0.04, "-0.01": 0.01}
load = cache(banks.load)


def said(found: Answer, by_row: float) -> list[bool]:
    """Whether each rule promotes."""
    return [found.ours[0] > 0, found.t[0] > 0, found.studentized[0] > 0, found.percentile[0] > 0, by_row > 0, found.value >= 0]


def swapped(cache_folder: Path, number: int) -> list[bool]:
    """Two models on 30 days in a row, their scores exchanged on each day with probability 1/2: neither is better."""
    bank, draw = load(cache_folder), np.random.default_rng([1, number])
    pair = draw.choice(np.flatnonzero(~bank.later()), 2, replace=False)
    inside, place = rows(bank, draw.integers(0, len(bank.late) - DAYS) + np.arange(DAYS))
    other = draw.integers(0, 2, DAYS)[place]
    first, second = (np.where(other == side, bank.score[pair[0], inside], bank.score[pair[1], inside]) for side in (0, 1))
    label = bank.label[inside]
    late, punctual = (np.bincount(place, weights=label == value) for value in (1, 0))
    found = answer(wins(place, label, first) - wins(place, label, second), late, punctual, 1.0)
    if number < CHECKED:
        check(place, label, first, second, found)
    return said(found, delong(label, first, second)[0])


def drawn(cache_folder: Path, difference: float, number: int) -> list[bool]:
    """A pair of that true difference on 30 days of the pool, drawn with replacement."""
    bank, draw = load(cache_folder), np.random.default_rng([2, round(1000 * abs(difference)), number])
    pair = draw.choice(_pairs(cache_folder, difference))
    days = draw.integers(0, len(bank.late), DAYS)
    found = compared(bank, pair, days)
    if number < CHECKED:
        confirm(bank, pair, days, found)
    inside, _ = rows(bank, days)
    return said(found, delong(bank.label[inside], bank.score[pair[0], inside], bank.score[pair[1], inside])[0])


@cache
def _pairs(cache_folder: Path, difference: float) -> np.ndarray:
    bank: Bank = load(cache_folder)
    return matched(bank, difference, within(~bank.later(), ~bank.later()))


def report(figures: dict[str, Any]) -> str:
    """The table, and whether the targets are reached."""
    lines = []
    for name, found in figures.items():
        lines.append([name, *(output.share(found["promoted"][rule], found["draws"]) for rule in RULES)])
    text = output.table(["true difference", *RULES], lines)
    for name, found in figures.items():
        share = found["promoted"]["modelyard"] / found["draws"]
        text += f"\n- {name}: {share:.2%} promoted, target at most {LIMITS[name]:.0%}: {'reached' if share <= LIMITS[name] else 'MISSED'}."
    return text + "\n"


@click.command(help=__doc__)
@CACHE
@output.JSON
@click.option("--draws", default=2_000, show_default=True, help="Of each kind.")
@click.option("--processes", default=2, show_default=True)
def main(cache: Path, json_file: Path | None, draws: int, processes: int) -> None:
    figures: dict[str, Any] = {}
    jobs = {"exact null": partial(swapped, cache)} | {f"{d:g}": partial(drawn, cache, d) for d in (0, -0.01)}
    for name, work in jobs.items():
        start = time.perf_counter()
        counts = np.sum(parallel(work, range(draws), processes), axis=0)
        pairs = None if name == "exact null" else len(_pairs(cache, float(name)))
        figures[name] = {"draws": draws, "pairs": pairs, "promoted": dict(zip(RULES, counts.tolist(), strict=True))}
        click.echo(f"{name}: {time.perf_counter() - start:.0f} s", err=True)
        output.write(json_file, {"promotions": figures})
    click.echo(report(figures))


if __name__ == "__main__":
    main()
