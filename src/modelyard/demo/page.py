"""What the demo leaves for people: the table, the page with its chart, the next commands."""

from __future__ import annotations

import io
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from modelyard.demo.measure import Month
from modelyard.demo.stage import Yard
from modelyard.demo.story import Tale
from modelyard.image.builder import VARIABLE
from modelyard.policy import METRICS


def write(yard: Yard, tale: Tale, figures: list[Month], *, seconds: float) -> Path:
    """Write ``report/index.html``, whole in one file, and return its path."""
    page = Environment(loader=PackageLoader("modelyard.demo", "."), undefined=StrictUndefined, autoescape=True).get_template("page.html.j2")
    path = yard.folder / "report" / "index.html"
    path.parent.mkdir(exist_ok=True)
    text = page.render(
        header=_header(yard),
        rows=_rows(tale, figures),
        runs=[run.as_json() for run in tale.runs],
        sentence=_sentence(yard, figures),
        chart=_chart(yard, tale, figures),
        commands=_commands(yard),
        seconds=seconds,
    )
    path.write_text(text, encoding="utf-8")
    return path


def markdown(yard: Yard, tale: Tale, figures: list[Month], report: Path, *, seconds: float) -> str:
    """The end of the demo for a terminal: the sentence, the table, what to try next."""
    head = _header(yard)
    rows = [head, *_rows(tale, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    counts = f"{len(tale.runs)} workflow runs and {len({live.version for live in tale.lives})} releases in {seconds / 60:.1f} minutes."
    next_ = [f"  {command}\n      {what}" for what, command in _commands(yard)]
    return "\n".join([_sentence(yard, figures), counts, "", *lines, "", f"The page with the chart: {report}", "", "Try next:", *next_])


def _header(yard: Yard) -> list[str]:
    metric = yard.project.policy.evaluate.metric
    return ["date", "new data", "rows", "monitor", f"live: {metric}", "champion", "challenger", "decision", "release", "loop", "frozen"]


def _rows(tale: Tale, figures: list[Month]) -> list[list[str]]:
    by_month = {figure.month: figure for figure in figures}
    rows = []
    for chapter in tale.chapters:
        figure = by_month.pop(chapter.month, None)  # a month that was refused first has two chapters, and one figure
        rows.append(
            [
                f"{chapter.date:%Y-%m-%d}",
                f"{chapter.month:%B}" if chapter is not tale.chapters[0] else "January to March",
                f"{figure.rows:,}" if figure else "",
                chapter.monitor,
                *map(_short, (chapter.metric, chapter.champion, chapter.challenger)),
                chapter.decision,
                chapter.commit[:10],
                f"{figure.loop:.4f}" if figure else "",
                f"{figure.frozen:.4f}" if figure else "",
            ]
        )
    return rows


def _sentence(yard: Yard, figures: list[Month]) -> str:
    policy = yard.project.policy
    metric = policy.evaluate.metric
    sign = 1 if METRICS[policy.task][metric] else -1
    differing = [figure for figure in figures if figure.loop != figure.frozen]  # before the second release both are one model
    better = [figure for figure in differing if sign * (figure.loop - figure.frozen) > 0]
    if not differing:
        return "No whole month passed with another model live than the first; more --months show what the loop gains."
    gain = sum(figure.loop - figure.frozen for figure in differing) / len(differing)
    months = ", ".join(f"{figure.month:%B} {figure.loop - figure.frozen:+.4f}" for figure in differing)
    return (
        f"The loop was better than the model frozen in March in {len(better)} of the {len(differing)} months "
        f"in which another model was live; "
        f"mean difference in {metric} {gain:+.4f} ({months})."
    )


def _chart(yard: Yard, tale: Tale, figures: list[Month]) -> str:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "svg.hashsalt": "modelyard"})
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    names = [f"{month.month:%b}" for month in figures]
    axes.plot(names, [month.frozen for month in figures], marker="o", color="#9a9a9a", label="frozen in March")
    axes.plot(names, [month.loop for month in figures], marker="o", color="#1f6f5c", label="the loop")
    for chapter in tale.chapters[1:]:
        if chapter.decision == "data refused":
            axes.axvline(
                names.index(f"{chapter.month:%b}"), color="#b3402a", linestyle=":", label=f"{chapter.month:%B}'s data refused at first"
            )
    axes.set_ylabel(yard.project.policy.evaluate.metric)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5")
    axes.legend(frameon=False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _commands(yard: Yard) -> list[tuple[str, str]]:
    at = f"cd {yard.root} &&"
    source = f"FLIGHTS_SOURCE={yard.upstream}"
    return [
        ("install the project's environment, once", f"{at} uv sync --locked"),
        ("who approved what, and why it is live", f"{at} uv run modelyard report"),
        ("all runs and models, in MLflow's pages", f"{at} uv run mlflow ui --backend-store-uri sqlite:///.modelyard/state/mlflow.db"),
        (
            "bring the live model here, and serve it",
            f"{at} uv run dvc pull && {VARIABLE}=none uv run modelyard package && "
            f"PYTHONPATH=src uv run bentoml serve {yard.project.policy.package}.service:Service",
        ),
        ("run any workflow again", f"{at} {source} uv run modelyard local schedule monitor --now 2013-09-01 --env FLIGHTS_SOURCE"),
    ]


def _short(number: str) -> str:
    return f"{float(number):.4f}" if number else ""
