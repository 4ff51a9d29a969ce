"""How often the 95 % interval holds the truth: 30 days drawn from April to December, the truth being that of all these days."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import bank as banks
import click
import numpy as np
from bank import Bank
from matrices import Answer, Ends, answer, delong, delong_alone
from pairs import CHECKED, compared, confirm, parallel, rows
from recipe import CACHE, output

RUN = 3
CASES = ("30 days", "10 runs of 3 days", "21 days")
RULES = ("modelyard", "t over influences", "studentized", "percentile", "row-wise DeLong")
TARGET = (0.93, 0.97)
load = cache(banks.load)


def days_of(case: str, of: int, draw: np.random.Generator) -> np.ndarray:
    """Days drawn with replacement, alone or in runs; each counts as a day of its own."""
    if case == CASES[1]:
        return (draw.integers(0, of - RUN + 1, 10)[:, None] + np.arange(RUN)).ravel()
    return draw.integers(0, of, int(case.split()[0]))


def drawn(cache_folder: Path, case: str, number: int) -> list[list[bool]]:
    """Whether each interval holds the truth: of the difference of two models of the bank, and of one model alone."""
    bank, draw = load(cache_folder), np.random.default_rng([4, CASES.index(case), number])
    truth: np.ndarray = _truth(cache_folder)
    pair = draw.choice(np.flatnonzero(~bank.later()), 2, replace=False)
    days = days_of(case, len(bank.late), draw)
    found = compared(bank, pair, days)
    if number < CHECKED:
        confirm(bank, pair, days, found)
    alone = answer(bank.wins[pair[0]][np.ix_(days, days)], bank.late[days], bank.punctual[days], 1.0)
    inside, _ = rows(bank, days)
    label, first, second = bank.label[inside], bank.score[pair[0], inside], bank.score[pair[1], inside]
    return [
        _held(found, delong(label, first, second), truth[pair[0]] - truth[pair[1]]),
        _held(alone, delong_alone(label, first), truth[pair[0]]),
    ]


def _held(found: Answer, by_row: Ends, truth: float) -> list[bool]:
    return [bool(low <= truth <= high) for low, high in (found.ours, found.t, found.studentized, found.percentile, by_row)]


@cache
def _truth(cache_folder: Path) -> np.ndarray:
    bank: Bank = load(cache_folder)
    return bank.truth()


def report(figures: dict[str, Any]) -> str:
    """The table, and whether the target is reached."""
    lines = [
        [case, what, *(output.share(found["held"][what][rule], found["draws"]) for rule in RULES)]
        for case, found in figures.items()
        for what in found["held"]
    ]
    text = output.table(["days", "interval of", *RULES], lines)
    found = figures[CASES[0]]
    for what, held in found["held"].items():
        share = held["modelyard"] / found["draws"]
        verdict = "reached" if TARGET[0] <= share <= TARGET[1] else "MISSED"
        text += f"\n- {what}, 30 days: {share:.2%}, target 93-97 %: {verdict}."
    return text + "\n"


@click.command(help=__doc__)
@CACHE
@output.JSON
@click.option("--draws", default=2_000, show_default=True, help="Of each case.")
@click.option("--processes", default=2, show_default=True)
def main(cache: Path, json_file: Path | None, draws: int, processes: int) -> None:
    start, figures = time.perf_counter(), {}
    for case in CASES:
        counts = np.sum(parallel(partial(drawn, cache, case), range(draws), processes), axis=0).tolist()
        held = {what: dict(zip(RULES, line, strict=True)) for what, line in zip(("the difference", "one model"), counts, strict=True)}
        figures[case] = {"draws": draws, "held": held}
        output.write(json_file, {"coverage": figures})
        click.echo(f"{case}: {time.perf_counter() - start:.0f} s", err=True)
    click.echo(report(figures))


if __name__ == "__main__":
    main()
