"""The year in closed loop: a challenger at the start of each month, released or not by each rule, and what the live model was worth.

Each model is trained on all days but the last 21, which are the hold-out that neither challenger nor champion has seen. What is
released is the very model that was judged: it is not refitted on the hold-out, in any rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import recipe
from recipe import CACHE, folder, output
from sklearn.metrics import roc_auc_score

from modelyard.evaluate import gate
from modelyard.policy import Evaluate

SEEDS = 5
HOLDOUT = 21
CUTS = tuple(recipe.day_of(f"{month:02}-01") for month in range(3, 13))  # a challenger at the start of each
STARTS = {"March": CUTS[0], "May": CUTS[2], "July": CUTS[4]}
SHARE = 0.8  # of the training rows, drawn anew by each seed
DEFAULT, KEPT = "non-inferior 0.02", 0.95


def train(job: tuple[Path, int, int]) -> Path:
    """Scores, from the hold-out on, of the model trained by this seed for this cut; kept in a file."""
    to, seed, cut = job
    path = to / f"evaluate-year-{seed}-{cut}.npy"
    if not path.exists():
        rows = recipe.flights().rows(0, cut - HOLDOUT)
        chosen = rows[np.random.default_rng([5, seed, cut]).uniform(size=len(rows)) < SHARE]
        score = recipe.fit(chosen, max_features=0.7, random_state=seed)
        np.save(path, score[recipe.flights().rows(cut - HOLDOUT, 365)])
    return path


@dataclass
class World:
    """What a seed could release, and what was ever asked of it.

    Parameters
    ----------
    scores
        Cut -> scores of that challenger from its hold-out on.
    """

    scores: dict[int, np.ndarray]
    asked: dict[tuple[Any, ...], gate.Compared] = field(default_factory=dict)

    def say(self, cut: int, first: int, end: int) -> np.ndarray:
        """Scores of the challenger of ``cut`` on the days first ... end - 1."""
        data = recipe.flights()
        return self.scores[cut][data.rows(first, end) - data.rows(cut - HOLDOUT, 365)[0]]

    def auc(self, cut: int, first: int, end: int) -> float:
        """Its ROC AUC there."""
        data = recipe.flights()
        return float(roc_auc_score(data.label[data.rows(first, end)], self.say(cut, first, end)))

    def compared(self, settings: Evaluate, cut: int, rival: int, *, anchor: bool) -> gate.Compared:
        """What the gate says of the challenger of ``cut`` on its hold-out."""
        key = cut, rival, settings.rule, settings.margin, anchor
        if key not in self.asked:
            data, days = recipe.flights(), (cut - HOLDOUT, cut)
            inside = data.rows(*days)
            judge = gate.against_anchor if anchor else gate.against_champion
            rows = gate.Rows(data.day[inside], data.label[inside])
            self.asked[key] = judge("binary", settings, rows, self.say(cut, *days), self.say(rival, *days))
        return self.asked[key]


#: World, cut of the challenger, of the champion, of the last superior release -> released, and as superior.
Rule = Callable[[World, int, int, int], tuple[bool, bool]]


def by_gate(settings: Evaluate, world: World, cut: int, champion: int, anchor: int) -> tuple[bool, bool]:
    """The policy's rule, as the gate applies it."""
    found = world.compared(settings, cut, champion, anchor=False)
    passed = found.check.status == "passed"
    if passed and settings.rule == "non-inferior" and not found.superior and anchor != champion:
        passed = world.compared(settings, cut, anchor, anchor=True).check.status == "passed"
    return passed, passed and found.superior


def at_least(world: World, cut: int, champion: int, _: int) -> tuple[bool, bool]:
    """A plain comparison."""
    return world.auc(cut, cut - HOLDOUT, cut) >= world.auc(champion, cut - HOLDOUT, cut), False


RULES: dict[str, Rule] = {
    "never": lambda *_: (False, False),
    "everything": lambda *_: (True, False),
    ">=": at_least,
    "superior": partial(by_gate, Evaluate(metric="roc_auc", rule="superior")),
    "non-inferior 0.01": partial(by_gate, Evaluate(metric="roc_auc", rule="non-inferior", margin=0.01)),
    DEFAULT: partial(by_gate, Evaluate(metric="roc_auc", rule="non-inferior", margin=0.02)),
}


def follow(world: World, rule: Rule, start: int) -> dict[str, Any]:
    """From the start's model, released without a champion and so as superior, to December: mean AUC of the weeks, and releases."""
    champion = anchor = start
    released, lives = [], []
    for cut, end in zip(CUTS, (*CUTS[1:], 365), strict=True):
        if cut < start:
            continue
        if cut > start:
            promoted, superior = rule(world, cut, champion, anchor)
            if promoted:
                champion = cut
                released.append(cut)
            anchor = cut if superior else anchor
        lives += [(day, champion) for day in range(cut, end)]
    weeks = [lives[i : i + 7] for i in range(0, len(lives) - 6, 7)]
    return {"auc": float(np.mean([_week(world, week) for week in weeks])), "released": released}


def _week(world: World, week: list[tuple[int, int]]) -> float:
    """A week in which the model may change."""
    score = np.concatenate([world.say(champion, day, day + 1) for day, champion in week])
    data = recipe.flights()
    return float(roc_auc_score(data.label[data.rows(week[0][0], week[-1][0] + 1)], score))


@cache
def world_of(to: Path, seed: int) -> World:
    return World({cut: np.load(train((to, seed, cut))) for cut in CUTS})


def report(runs: list[dict[str, Any]]) -> str:
    """The table, and whether the target is reached."""
    means = {rule: np.mean([r["auc"] for r in runs if r["rule"] == rule]) for rule in RULES}
    whole, lines = means["everything"] - means["never"], []
    for rule in RULES:
        some = [r for r in runs if r["rule"] == rule]
        by_start = [f"{np.mean([r['auc'] for r in some if r['start'] == s]):.4f}" for s in STARTS]
        aucs, counts = [r["auc"] for r in some], [len(r["released"]) for r in some]
        span = f"{min(aucs):.4f}-{max(aucs):.4f}"
        released = f"{np.mean(counts):.1f} ({min(counts)}-{max(counts)})"
        lines.append([rule, f"{means[rule]:.4f}", span, f"{(means[rule] - means['never']) / whole:.0%}", released, *by_start])
    header = ["rule", "mean ROC AUC", "range", "gain, of everything's", "releases (range)", *(f"from {s}" for s in STARTS)]
    kept = (means[DEFAULT] - means["never"]) / whole
    verdict = "reached" if kept >= KEPT else "MISSED"
    return output.table(header, lines) + f"\n- {DEFAULT} keeps {kept:.1%} of the gain, target at least {KEPT:.0%}: {verdict}.\n"


@click.command(help=__doc__)
@CACHE
@output.JSON
@click.option("--seeds", default=SEEDS, show_default=True)
@click.option("--processes", default=2, show_default=True)
def main(cache: Path, json_file: Path | None, seeds: int, processes: int) -> None:
    begin, to = time.perf_counter(), folder(cache)
    recipe.flights()
    with ProcessPoolExecutor(processes) as workers:
        list(workers.map(train, [(to, seed, cut) for seed in range(seeds) for cut in CUTS]))
    click.echo(f"trained: {time.perf_counter() - begin:.0f} s", err=True)
    runs = []
    for seed, (name, start), rule in product(range(seeds), STARTS.items(), RULES):
        found = follow(world_of(to, seed), RULES[rule], start)
        runs.append({"seed": seed, "start": name, "rule": rule, **found})
    output.write(json_file, {"year": {"refit": False, "holdout_days": HOLDOUT, "runs": runs}})
    click.echo(f"{time.perf_counter() - begin:.0f} s", err=True)
    click.echo(report(runs))


if __name__ == "__main__":
    main()
