"""A segment made worse, carrier by carrier: is it found? And how often is a segment blamed that is no worse?"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import bank as banks
import click
import numpy as np
import recipe
from pairs import CHECKED, parallel, rows
from recipe import CACHE, folder, output

from modelyard import policy
from modelyard.evaluate import paired
from modelyard.evaluate import segments as gate
from modelyard.evaluate.gate import Rows

DAYS, QUARTER = 30, 91
COLUMNS = ("carrier", "origin")
SETTINGS = policy.Segments(columns=list(COLUMNS))
ALPHA = 0.05
KEYS = ("found", "significant", "others")
LARGEST, FOUND, FALSE = ("EV", "DL"), 0.90, 0.05
load = cache(banks.load)


@cache
def columns() -> dict[str, np.ndarray]:
    """The segments of the rows from April on."""
    data = recipe.flights()
    pool = data.rows(recipe.APRIL, 365)
    return {name: data.raw[name].to_numpy()[pool] for name in COLUMNS}


@cache
def segments() -> dict[str, np.ndarray]:
    """Segment -> whether each row from April on lies in it."""
    return {f"{name} = {value}": values == value for name, values in columns().items() for value in np.unique(values)}


def blamed(
    inside: np.ndarray, day: np.ndarray, label: np.ndarray, first: np.ndarray, second: np.ndarray, *, whole: bool
) -> tuple[set[str], set[str]]:
    """Segments that fail; and those whose loss is significant, however small.

    The same steps as `judge`, without the metrics that it only lists; with ``whole`` it is asked too, and must agree.
    """
    names, tests = [], []
    for name, within in segments().items():
        at = within[inside]
        if at.sum() < SETTINGS.min_rows or len(set(day[at].tolist())) < gate.MINIMUM_DAYS or not 0 < label[at].mean() < 1:
            continue
        try:
            tests.append(paired.compare("roc_auc", True, day[at], label[at], first[at], second[at]))
        except ValueError:
            continue
        names.append(name)
    lost = np.array([-found.difference for found in tests])
    certain = gate.holm(np.array([found.p for found in tests])) <= ALPHA
    failed, significant = ({names[i] for i in np.flatnonzero(which)} for which in (certain & (lost > SETTINGS.margin), certain))
    if whole:
        given = {name: values[inside] for name, values in columns().items()}
        said = gate.judge("binary", "roc_auc", given, Rows(day, label), first, second, SETTINGS)
        if {segment.name for segment in said.judged if segment.failed} != failed or len(said.judged) != len(names):
            raise SystemExit(f"judge says otherwise: {said.judged}, not {failed}.")
    return failed, significant


def swapped(cache_folder: Path, number: int) -> tuple[bool, bool, list[str]]:
    """Two models on 30 days in a row, scores exchanged on each day with probability 1/2: is any segment blamed?"""
    bank, draw = load(cache_folder), np.random.default_rng([6, number])
    pair = draw.choice(np.flatnonzero(~bank.later()), 2, replace=False)
    inside, place = rows(bank, draw.integers(0, len(bank.late) - DAYS) + np.arange(DAYS))
    other = draw.integers(0, 2, DAYS)[place]
    first, second = (np.where(other == side, bank.score[pair[0], inside], bank.score[pair[1], inside]) for side in (0, 1))
    failed, significant = blamed(inside, place, bank.label[inside], first, second, whole=number < CHECKED)
    return bool(failed), bool(significant), sorted(failed)


def shuffle(job: tuple[Path, str, int]) -> Path:
    """Scores from April on of the template's model that learnt one carrier's labels shuffled; kept in a file. No carrier: the champion."""
    to, carrier, number = job
    path = to / f"evaluate-shuffled-{carrier or 'none'}-{number}.npy"
    if not path.exists():
        data = recipe.flights()
        label, train = data.label.copy(), data.rows(0, recipe.APRIL)
        at = train[data.raw["carrier"].to_numpy()[train] == carrier]
        label[at] = np.random.default_rng([7, number]).permutation(label[at])
        np.save(path, recipe.fit(train, label=label)[data.rows(recipe.APRIL, 365)])
    return path


@cache
def _scores(to: Path, carrier: str, number: int) -> np.ndarray:
    return np.load(shuffle((to, carrier, number)))


def drawn(to: Path, carrier: str, shuffles: int, size: int, number: int) -> tuple[bool, bool, bool]:
    """On so many days of the pool: whether the carrier is blamed, whatever the loss; and whether another carrier is."""
    days = np.random.default_rng([8, number]).integers(0, len(load(to).late), size)
    return judged(to, carrier, number % shuffles, days, whole=number < 1)


def judged(to: Path, carrier: str, model: int, days: np.ndarray, *, whole: bool = False) -> tuple[bool, bool, bool]:
    """The same on given days."""
    bank, name = load(to), f"carrier = {carrier}"
    inside, place = rows(bank, days)
    first, second = _scores(to, carrier, model)[inside], _scores(to, "", 0)[inside]
    found = blamed(inside, place, bank.label[inside], first, second, whole=whole)
    others = any(other.startswith("carrier") and other != name for other in found[0])
    return name in found[0], name in found[1], others


def months() -> list[np.ndarray]:
    """The days of April, ..., December, counted from April 1."""
    first = [recipe.day_of(f"{month:02}-01") - recipe.APRIL for month in range(4, 13)]
    return [np.arange(a, b) for a, b in pairwise([*first, 365 - recipe.APRIL])]


def loss(to: Path, carrier: str, number: int) -> float:
    """What the shuffling really costs the carrier, in ROC AUC of all days."""
    from sklearn.metrics import roc_auc_score

    at, label = columns()["carrier"] == carrier, load(to).label
    before, after = (roc_auc_score(label[at], scores[at]) for scores in (_scores(to, "", 0), _scores(to, carrier, number)))
    return float(before - after)


def report(figures: dict[str, Any]) -> str:
    """The tables, and whether the targets are reached."""
    text = ""
    if found := figures.get("null"):
        of = found["draws"]
        text += f"Day-swapped pairs: {output.share(found['blocked'], of)} block; "
        text += f"without the margin {output.share(found['significant'], of)}. By segment: {found['by']}.\n\n"
        low = output.interval(found["blocked"], of)[0]
        text += f"- false blocks, target at most 5 % and the Monte Carlo error: {'reached' if low <= FALSE else 'MISSED'}.\n\n"
    if lines := figures.get("shuffled"):
        cells = [
            [f["carrier"], f["rows"], f"{f['loss']:.3f}", f["draws"], *_shares(f, f["draws"]), *_shares(f["months"], f["months"]["of"])]
            for f in lines
        ]
        kinds = ("found", "without the margin", "another carrier blamed")
        header = ["carrier shuffled", "flights in 30 days", "true loss", "draws", *kinds, *(f"real months: {kind}" for kind in kinds)]
        text += output.table(header, cells) + "\n"
        for f in lines:
            if f["carrier"] in LARGEST:
                share = f["found"] / f["draws"]
                text += f"- {f['carrier']}: found in {share:.0%}, target at least 90 %: {'reached' if share >= FOUND else 'MISSED'}.\n"
    for f in figures.get("quarter", []):
        text += f"- {f['carrier']} on {QUARTER} days: found in {f['found'] / f['draws']:.0%}.\n"
    return text


def _shares(found: dict[str, int], of: int) -> list[str]:
    return [f"{found[key] / of:.0%}" for key in KEYS]


@click.command(help=__doc__)
@CACHE
@output.JSON
@click.option("--draws", default=2_000, show_default=True, help="Of day-swapped pairs.")
@click.option("--each", default=100, show_default=True, help="Draws of 30 days for each carrier.")
@click.option("--shuffles", default=2, show_default=True, help="Models for each carrier.")
@click.option("--only", type=click.Choice(["null", "shuffled", "quarter"]), help="One part only.")
@click.option("--processes", default=2, show_default=True)
def main(cache: Path, json_file: Path | None, draws: int, each: int, shuffles: int, only: str | None, processes: int) -> None:
    start, to = time.perf_counter(), folder(cache)
    figures = output.read(json_file).get("segments", {})
    columns()
    if only in (None, "shuffled"):
        names, counts = np.unique(columns()["carrier"], return_counts=True)
        carriers = names[np.argsort(-counts)].tolist()
        jobs = [(to, "", 0), *((to, carrier, number) for carrier in carriers for number in range(shuffles))]
        with ProcessPoolExecutor(processes) as workers:
            list(workers.map(shuffle, jobs))
        click.echo(f"trained: {time.perf_counter() - start:.0f} s", err=True)
        figures["shuffled"] = []
        for carrier in carriers:
            size = round(float((columns()["carrier"] == carrier).sum()) * DAYS / len(load(to).late))
            if size < SETTINGS.min_rows:  # never judged
                continue
            found = np.sum(parallel(partial(drawn, to, carrier, shuffles, DAYS), range(each), processes), axis=0).tolist()
            real = np.sum([judged(to, carrier, model, days) for model in range(shuffles) for days in months()], axis=0).tolist()
            line: dict[str, Any] = {"carrier": carrier, "rows": size, "draws": each, **dict(zip(KEYS, found, strict=True))}
            line["loss"] = float(np.mean([loss(to, carrier, number) for number in range(shuffles)]))
            line["months"] = {"of": shuffles * len(months()), **dict(zip(KEYS, real, strict=True))}
            figures["shuffled"].append(line)
            output.write(json_file, {"segments": figures})
            click.echo(f"{line}: {time.perf_counter() - start:.0f} s", err=True)
    if only in (None, "quarter"):
        found = {c: np.sum(parallel(partial(drawn, to, c, shuffles, QUARTER), range(each), processes), axis=0).tolist() for c in LARGEST}
        figures["quarter"] = [{"carrier": c, "draws": each, **dict(zip(KEYS, line, strict=True))} for c, line in found.items()]
        output.write(json_file, {"segments": figures})
    if only in (None, "null"):
        answers = parallel(partial(swapped, to), range(draws), processes)
        by = [name for *_, names in answers for name in names]
        figures["null"] = {
            "draws": draws,
            **{key: sum(answer[i] for answer in answers) for i, key in enumerate(("blocked", "significant"))},
            "by": {name: by.count(name) for name in sorted(set(by))},
        }
        output.write(json_file, {"segments": figures})
    click.echo(f"{time.perf_counter() - start:.0f} s", err=True)
    click.echo(report(figures))


if __name__ == "__main__":
    main()
