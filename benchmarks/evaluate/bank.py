"""A bank of models of one recipe, trained on January to March (some to April, May, June), and their scores on all later days."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import recipe
from matrices import wins
from recipe import CACHE, folder

FILE = "evaluate-bank.npz"
FRESH = "trained to April, May or June"  # scored from July on
KINDS = ("other seed", "hyper-parameters", "one feature dropped", "days resampled", "fewer days", "noise on scores", FRESH)


@dataclass(frozen=True)
class Bank:
    """Scores of the models on the flights from April to December, and who beats whom between days.

    Parameters
    ----------
    kind, name
        (models,)
    day, label
        (n,) days are 0 (April 1) ... 274.
    score
        (models, n) NaN where the model may have seen the day.
    wins
        (models, days, days): pairs of a late flight of one day and a punctual one of another that are ordered rightly.
    late, punctual
        (days,) counts.
    """

    kind: np.ndarray
    name: np.ndarray
    day: np.ndarray
    label: np.ndarray
    score: np.ndarray
    wins: np.ndarray
    late: np.ndarray
    punctual: np.ndarray

    def truth(self, first: int = 0) -> np.ndarray:
        """(models,) ROC AUC of all days from ``first`` on."""
        pairs = self.late[first:].sum() * self.punctual[first:].sum()
        return self.wins[:, first:, first:].sum(axis=(1, 2)) / pairs

    def later(self) -> np.ndarray:
        """(models,) whether the model may only be judged from July on."""
        return self.kind == FRESH

    def slices(self) -> list[slice]:
        """Rows of each day."""
        edges = np.searchsorted(self.day, np.arange(len(self.late) + 1))
        return [slice(int(a), int(b)) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class Job:
    """One model to train: its kind, and a number that stands for the rest."""

    kind: str
    number: int


def jobs() -> list[Job]:
    """What the bank holds."""
    features = len(recipe.flights().names)
    counts = dict(zip(KINDS, (12, 18, features, 20, 10, 10, 12), strict=True))
    return [Job(kind, number) for kind in KINDS for number in range(counts[kind])]


def train(job: Job) -> tuple[str, np.ndarray]:
    """A short name, and the scores from April on."""
    data, i = recipe.flights(), job.number
    draw = np.random.default_rng([KINDS.index(job.kind), i])
    rows, first = data.rows(0, recipe.APRIL), data.rows(recipe.APRIL, 365)[0]
    if job.kind == "other seed":  # the template's trees draw nothing at random: each split sees 70 % of the features
        name, score = f"seed {i}", recipe.fit(rows, max_features=0.7, random_state=i)
    elif job.kind == "hyper-parameters":
        chosen = {
            "max_iter": int(draw.choice([40, 80, 120, 200, 300])),
            "learning_rate": float(draw.choice([0.03, 0.06, 0.1, 0.2])),
            "max_leaf_nodes": int(draw.choice([5, 10, 15, 31, 63])),
            "min_samples_leaf": int(draw.choice([20, 100, 200, 1000])),
            "l2_regularization": float(draw.choice([0, 1, 10])),
        }
        name, score = " ".join(f"{value:g}" for value in chosen.values()), recipe.fit(rows, **chosen)
    elif job.kind == "one feature dropped":
        name = data.names[i]
        score = recipe.fit(rows, drop=name)
    elif job.kind == "days resampled":
        days = draw.integers(0, recipe.APRIL, recipe.APRIL)
        name, score = f"draw {i}", recipe.fit(np.concatenate([data.rows(day, day + 1) for day in days]))
    elif job.kind == "fewer days":
        first_day, end = [(0, 31), (0, 45), (0, 59), (15, 75), (31, 59), (31, 90), (45, 90), (59, 90), (15, 90), (0, 75)][i]
        name, score = f"days {first_day} to {end}", recipe.fit(data.rows(first_day, end))
    elif job.kind == FRESH:
        end = [120, 151, 181][i % 3]
        name, score = f"to day {end}, seed {i // 3}", recipe.fit(data.rows(0, end), max_features=0.7, random_state=i // 3)
        score[: data.rows(recipe.JULY, 365)[0]] = np.nan
    else:
        plain, level = recipe.fit(rows).astype(float), 0.1 * (i + 1)
        logit = np.log(plain / (1 - plain)) + level * draw.standard_normal(len(plain))
        name, score = f"sd {level:.1f} on the logit", (1 / (1 + np.exp(-logit))).astype(np.float32)
    return name, score[first:]


def make(processes: int) -> Bank:
    """Train all."""
    data = recipe.flights()
    pool = data.rows(recipe.APRIL, 365)
    day, label = data.day[pool] - recipe.APRIL, data.label[pool]
    todo = jobs()
    with ProcessPoolExecutor(processes) as workers:
        found = list(workers.map(train, todo))
    score = np.stack([scores for _, scores in found])
    matrices = np.stack([wins(day, label, np.nan_to_num(one)) for one in score])
    kind, name = np.array([job.kind for job in todo]), np.array([name for name, _ in found])
    late, punctual = (np.bincount(day, weights=label == value) for value in (1, 0))
    return Bank(kind, name, day, label, score, matrices, late, punctual)


def load(cache: Path) -> Bank:
    """Read it; without it, say how to make it."""
    path = folder(cache) / FILE
    if not path.exists():
        raise click.UsageError(f"There is no {path}: run bank.py first.")
    with np.load(path) as file:
        return Bank(**file)


@click.command(help=__doc__)
@CACHE
@click.option("--processes", default=2, show_default=True)
def main(cache: Path, processes: int) -> None:
    start = time.perf_counter()
    bank = make(processes)
    path = folder(cache) / FILE
    np.savez(path, **vars(bank))
    spent = sum(os.times()[:4])
    click.echo(f"{len(bank.kind)} models in {time.perf_counter() - start:.0f} s, {spent:.0f} s of CPU")
    for kind in KINDS:
        of = bank.truth()[bank.kind == kind] if kind != FRESH else bank.truth(recipe.JULY - recipe.APRIL)[bank.later()]
        click.echo(f"{kind}: {len(of)} models, ROC AUC {of.min():.4f} to {of.max():.4f}")


if __name__ == "__main__":
    main()
