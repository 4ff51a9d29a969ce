"""What an evaluation costs beyond imports: all of it on 30,000 rows, and how the interval and the comparison grow with rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import recipe
from recipe import output

from modelyard.evaluate import bare, gate, paired
from modelyard.policy import METRICS, Evaluate, Fairness, Segments

ROWS, DAYS = 30_000, 30
SECONDS = 10.0
SIZES = (30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
SETTINGS = Evaluate(metric="roc_auc", segments=Segments(columns=["carrier", "origin", "dest"]), fairness=Fairness(attributes=["origin"]))


def tables(folder: Path, rows: int) -> tuple[Path, Path, Path]:
    """Challenger, champion and labels of the last flights before July, from models of January to March and of another seed."""
    import pandas as pd

    data = recipe.flights()
    inside = data.rows(0, recipe.JULY)[-rows:]
    kept = data.raw.iloc[inside]
    frame = pd.DataFrame({"id": inside, "label": data.label[inside], "time": kept["scheduled"].to_numpy()})
    for name in SETTINGS.segments.columns:
        frame[name] = kept[name].to_numpy()
    paths = folder / "challenger.parquet", folder / "champion.parquet", folder / "labels.parquet"
    frame.to_parquet(paths[2])
    for path, seed in zip(paths, (1, 2), strict=False):
        score = recipe.fit(data.rows(0, recipe.APRIL), max_features=0.7, random_state=seed)[inside]
        pd.DataFrame({"id": inside, "prediction": score.astype(float)}).to_parquet(path)
    return paths


def whole(rows: int) -> dict[str, float]:
    """CPU seconds of ``modelyard evaluate`` on files of predictions, and of its parts; a run before it has imported all."""
    with tempfile.TemporaryDirectory() as name:
        paths = tables(Path(name), rows)
        files = bare.Files("binary", *paths)
        bare.judge(files, SETTINGS)
        spent = {"all": _spent(lambda: bare.judge(files, SETTINGS))}
        table = bare.tables.read("binary", *paths)
    at = table.rows
    spent["champion"] = _spent(lambda: gate.against_champion("binary", SETTINGS, at, table.challenger, table.champion))
    for metric in METRICS["binary"]:
        spent[f"interval of {metric}"] = _spent(lambda metric=metric: paired.interval(metric, at.day, at.label, table.challenger))
    return spent


def _spent(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def grown(rows: int, what: str) -> dict[str, float]:
    """CPU seconds and memory of one step on made-up scores of 30 days; run in a process of its own."""
    draw = np.random.default_rng(rows)
    day, truth = np.sort(draw.integers(0, DAYS, rows)), draw.normal(size=rows)
    label = (draw.uniform(size=rows) < 1 / (1 + np.exp(-truth))).astype(float)
    first, second = (1 / (1 + np.exp(-truth - draw.normal(size=rows))) for _ in range(2))
    del truth
    before = _peak()
    if what == "compare":
        spent = _spent(lambda: paired.compare("roc_auc", True, day, label, first, second))
    else:
        spent = _spent(lambda: paired.interval(what, day, label, first))
    return {"cpu": spent, "mb": _peak(), "mb_before": before}


def _peak() -> float:
    """Peak memory of this process in MB; getrusage would count what the parent held when it started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def report(figures: dict[str, Any]) -> str:
    """The tables, and whether the target is reached."""
    text = ""
    if found := figures.get("whole"):
        text += output.table(["30,000 rows", "CPU s"], [[name, spent] for name, spent in found.items()])
        verdict = "reached" if found["all"] <= SECONDS else "MISSED"
        text += f"\n- files, comparison, criteria, all metrics of both models, segments, groups: {found['all']:.1f} s of CPU; "
        text += f"target at most {SECONDS:.0f}: {verdict}.\n\n"
    lines = [
        [what, f"{int(size):,}", run["cpu"], 1e6 * run["cpu"] / int(size), f"{run['mb']:.0f}", f"{run['mb'] - run['mb_before']:.0f}"]
        for what, runs in figures.get("grown", {}).items()
        for size, run in runs.items()
    ]
    return text + output.table(["step, 30 days", "rows", "CPU s", "CPU s a million rows", "peak MB", "of it beyond the rows"], lines)


@click.command(help=__doc__)
@output.JSON
@click.option("--only", type=click.Choice(["whole", "grown"]), help="One part only.")
@click.option("--most", default=SIZES[-1], show_default=True, help="Rows that the comparison and the interval grow to.")
@click.option("--one", nargs=2, type=(int, str), hidden=True, help="Rows and step: a process of its own.")
def main(json_file: Path | None, only: str | None, most: int, one: tuple[int, str] | None) -> None:
    if one:
        click.echo(json.dumps(grown(*one)))
        return
    figures = output.read(json_file).get("cost", {})
    if only != "grown":
        figures["whole"] = whole(ROWS)
        output.write(json_file, {"cost": figures})
    if only != "whole":
        figures["grown"] = {}
        for what in ("compare", *METRICS["binary"]):
            figures["grown"][what] = {}
            for size in SIZES:
                if size > most:
                    continue
                command = [sys.executable, __file__, "--one", str(size), what]
                figures["grown"][what][str(size)] = json.loads(subprocess.check_output(command, env={**os.environ, "OMP_NUM_THREADS": "1"}))
                click.echo(f"{what}, {size:,}: {figures['grown'][what][str(size)]}", err=True)
                output.write(json_file, {"cost": figures})
    click.echo(report(figures))


if __name__ == "__main__":
    main()
