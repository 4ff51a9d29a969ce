"""The decision to retrain, measured on the flights: false alarms, a planted change, and the year in closed loop.

uv run python benchmarks/monitor/decision/run.py [--json FILE] [--jobs N] [--evidently FOLDER] [--only null planted year]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import policies
from policies import World, at, below_level, every, follow, never, ours
from stream import WEEK, make, plant

DAYS = 52 * WEEK
STARTS = {"March": 9, "April": 13, "May": 18, "June": 22, "July": 26, "August": 31, "September": 35}  # first whole week
JULY = 26
HALF = 0.5  # of each day's flights, where many streams must be run


@contextmanager
def rivals(cache: Path | None) -> Iterator[dict[str, policies.Rule]]:
    """Evidently's rules, if it was asked for."""
    if cache is None:
        yield {}
        return
    import rival

    with rival.running(cache) as evidently:
        yield evidently.rules()


def null(seed: int) -> dict[str, Any]:
    """A year of days in random order: a quarter to begin with, then a check each week. Nothing decays."""
    order = np.random.default_rng(seed).permutation(DAYS)
    course = follow(World(make(order, share=HALF, seed=seed)), ours, 13, 52, score=False)
    return {"seed": seed, "weeks": 39, "trained": course.trained}


def planted(job: tuple[int, float, Path | None]) -> dict[str, Any]:
    """Days in random order, a model trained after 20 weeks, and a change of concept after 26."""
    seed, share, evidently = job
    order = np.random.default_rng(1000 + seed).permutation(DAYS)
    world = World(plant(make(order, share=HALF, seed=seed), 26, share, seed))
    with rivals(evidently) as others:
        courses = {name: follow(world, rule, 20, 35, score=False) for name, rule in {"modelyard": ours, **others}.items()}
    before = world.auc((0, 20), 25), world.auc((0, 20), 30)
    return {"seed": seed, "share": share, "trained": {name: course.trained for name, course in courses.items()}, "auc": before}


def year(kept_out: int, world: World, others: dict[str, policies.Rule]) -> dict[str, Any]:
    """The flights as they flew: each rule from each start month to the end of the year."""
    rules = {"never": never, "every 13 weeks": every(13), "every 8 weeks": every(8), "every 4 weeks": every(4), "every week": every(1)}
    rules |= {"AUC below level": below_level, "modelyard": ours, **others}
    courses = {name: {month: follow(world, rule, start, 52) for month, start in STARTS.items()} for name, rule in rules.items()}
    draw = np.random.default_rng(0)
    chance = {}
    for month, start in STARTS.items():
        count = len(courses["modelyard"][month].trained)
        times = [frozenset((start + 1 + draw.choice(51 - start, count, replace=False)).tolist()) for _ in range(200)]
        chance[month] = [follow(world, at(each), start, 52) for each in times]
    table = {name: _summary(list(by.values())) for name, by in courses.items()}
    table["random times, as many as modelyard"] = _summary([course for many in chance.values() for course in many])
    signals: Counter[tuple[str, str]] = Counter()
    verdicts: Counter[str] = Counter()
    for month, start in STARTS.items():
        course = courses["modelyard"][month]
        for index, week in enumerate(range(start + 1, 52)):
            live = course.live[index]  # before the decision of this week
            real = world.real(live, week)
            found = policies.performance.strongest(*world.decay(live, week))
            signals[found.found if found else "unknown", real] += 1
            verdicts[real] += week in course.trained
    return {
        "kept_out": kept_out,
        "rules": table,
        "months": {name: {m: [float(np.mean(c.aucs)), len(c.trained)] for m, c in by.items()} for name, by in courses.items()},
        "trained": {month: course.trained for month, course in courses["modelyard"].items()},
        "signals": [[*key, count] for key, count in sorted(signals.items())],
        "verdicts": dict(verdicts),
    }


def _summary(courses: list[policies.Course]) -> dict[str, float]:
    late = [np.mean(c.aucs[max(0, JULY - (52 - len(c.aucs))) :]) for c in courses]
    return {
        "auc": float(np.mean([np.mean(c.aucs) for c in courses])),
        "late": float(np.mean(late)),
        "trained": float(np.mean([len(c.trained) for c in courses])),
        "trained_late": float(np.mean([sum(week >= JULY for week in c.trained) for c in courses])),
    }


def report(found: dict[str, Any]) -> Iterable[str]:
    """The tables."""
    if runs := found.get("null"):
        weeks, count = sum(r["weeks"] for r in runs), sum(len(r["trained"]) for r in runs)
        worst = max(len(r["trained"]) for r in runs)
        yield f"## (a) No decay: {len(runs)} streams of shuffled days, {weeks} weekly checks\n"
        yield f"{count} false retrains, {52 * count / weeks:.2f} a year; the worst stream has {worst} in 39 weeks.\n"
    if runs := found.get("planted"):
        yield "## (b) A change of concept after week 26\n"
        yield "| labels reversed | AUC before, after | rule | streams | found within 2 weeks | 4 weeks | 8 weeks | false, weeks 20-26 |"
        yield "|---" * 8 + "|"
        for share, rule in product(sorted({r["share"] for r in runs}), runs[0]["trained"]):
            some = [r for r in runs if r["share"] == share]
            times = [r["trained"][rule] for r in some]
            wait = np.array([next((week - 26 for week in weeks if week > 26), 99) for weeks in times])
            early = sum(week <= 26 for weeks in times for week in weeks)
            auc = np.mean([r["auc"] for r in some], axis=0)
            parts = " | ".join(f"{np.mean(wait <= limit):.0%}" for limit in (2, 4, 8))
            yield f"| {share:.0%} | {auc[0]:.3f}, {auc[1]:.3f} | {rule} | {len(some)} | {parts} | {early} |"
        yield ""
    for run in found.get("year", []):
        yield from _year(run)


def _year(run: dict[str, Any]) -> Iterable[str]:
    kept = f"the last {run['kept_out']} weeks kept out of each training" if run["kept_out"] else "trained on all rows so far"
    yield f"## (c) The year in closed loop, models of March to September, {kept}\n"
    yield "| rule | mean AUC | gain, of every 4 weeks' | retrains | July-December: AUC | gain | retrains |\n|---|---|---|---|---|---|---|"
    rules = run["rules"]
    least, most = rules["never"], rules["every 4 weeks"]
    for name, row in sorted(rules.items(), key=lambda item: item[1]["trained"]):
        gains = [(row[part] - least[part]) / (most[part] - least[part]) for part in ("auc", "late")]
        yield (
            f"| {name} | {row['auc']:.4f} | {gains[0]:.0%} | {row['trained']:.2f} "
            f"| {row['late']:.4f} | {gains[1]:.0%} | {row['trained_late']:.2f} |"
        )
    yield "\n| mean AUC (retrains) from | " + " | ".join(run["trained"]) + " |"
    yield "|---" * (1 + len(run["trained"])) + "|"
    for name in ("never", "every 4 weeks", "modelyard"):
        yield f"| {name} | " + " | ".join(f"{auc:.4f} ({count})" for auc, count in run["months"][name].values()) + " |"
    yield ""
    counts = {(found, real): count for found, real, count in run["signals"]}
    answers = ("yes", "undetermined", "no", "unknown")
    yield "| monitor says \\ real decay | yes | undetermined | no |\n|---|---|---|---|"
    for answer in answers:
        yield f"| {answer} | " + " | ".join(str(counts.get((answer, real), 0)) for real in answers[:3]) + " |"
    hits, misses = counts.get(("yes", "yes"), 0), sum(counts.get((answer, "yes"), 0) for answer in answers[1:])
    wrong = counts.get(("yes", "no"), 0)
    yield "\nDecay `yes` against real decay, where that is not undetermined: "
    yield f"precision {_share(hits, hits + wrong)}, recall {_share(hits, hits + misses)}."
    v = run["verdicts"]
    yield f"Retrains: {v.get('yes', 0)} on real decay, {v.get('undetermined', 0)} undetermined, {v.get('no', 0)} on none.\n"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} ({part} of {whole})" if whole else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--evidently", type=Path, metavar="FOLDER", help="set evidently beside, whose environment is, or goes, there")
    parser.add_argument("--only", nargs="+", choices=["null", "planted", "year"], default=["null", "planted", "year"])
    asked = parser.parse_args()
    begun, found = time.time(), {}
    if "year" in asked.only:
        stream = make(np.arange(DAYS))
        with rivals(asked.evidently) as others:
            found["year"] = [year(0, World(stream), others), year(3, World(stream, 3), {})]
    work: dict[str, tuple[Callable[[Any], dict[str, Any]], list[Any]]] = {
        "null": (null, list(range(asked.streams))),
        "planted": (planted, [(seed, share, asked.evidently) for share in (0.5, 0.75, 1.0) for seed in range(asked.streams // 2)]),
    }
    with ProcessPoolExecutor(asked.jobs) as pool:
        for name, (function, jobs) in work.items():
            if name in asked.only:
                found[name] = list(pool.map(function, jobs))
    print("\n".join(report(found)))
    print(f"{time.time() - begun:.0f} s, {asked.jobs} process(es).")
    if asked.json:
        known = json.loads(asked.json.read_text(encoding="utf-8")) if asked.json.exists() else {}
        asked.json.write_text(json.dumps(known | found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
