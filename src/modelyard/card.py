"""The model card ``releases/model-card.md``: a release for people, and in its header for model hubs. Written by ``propose``, never by hand.

Its form is that of M. Mitchell et al., "Model cards for model reporting" (FAT* 2019); its header that of the cards on the Hugging Face Hub.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from modelyard import checklist, history
from modelyard.checklist import Checklist
from modelyard.history import Entry
from modelyard.page.markdown import code, plain
from modelyard.policy import Policy
from modelyard.project import Project
from modelyard.release import Release
from modelyard.risk import FAMILIES

#: Packages whose version changes what comes out.
COMPUTES = ("modelyard", "numpy", "onnxruntime", "pandas", "scikit-learn", "skl2onnx")
#: Metric -> its name on model hubs, where that is another.
_HUB = {"brier": "brier_score", "r2": "r_squared"}
_RELEASES = 10
_SEGMENTS = 20
_WEAKEST = 5


@dataclass(frozen=True, kw_only=True)
class Around:
    """What a card tells beside the record and the evaluation."""

    license: str = ""
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)  # of each data file
    releases: Sequence[Entry] = ()  # before this one, the newest first
    checklist: Checklist | None = None


def around(project: Project, rev: str) -> Around:
    """Gather it, with the releases up to ``rev``."""
    return Around(
        license=_license(project),
        python=platform.python_version(),
        versions=dict(_versions()),
        rows=_rows(project),
        releases=history.approved(project, rev),
        checklist=checklist.of(project),
    )


def render(release: Release, evaluation: Mapping[str, Any], policy: Policy, around: Around) -> str:
    """The card, as Markdown with a YAML header. No I/O.

    Parameters
    ----------
    evaluation
        Content of ``reports/evaluate.json``; parts that it lacks are left out, or said to be lacking.
    """
    header = yaml.safe_dump(_header(release, evaluation, policy, around), sort_keys=False, allow_unicode=True, width=120)
    segments = evaluation.get("segments") or {}
    judged = sorted(segments.get("judged") or [], key=lambda segment: -segment["rows"])
    answers = {row.id: row for row in around.checklist.rows if row.answer} if around.checklist else {}
    body = _CARD.render(
        release=release,
        judged=release.evaluation,
        policy=policy,
        risk=policy.risk,
        around=around,
        evaluation=evaluation,
        metrics=metrics_table(evaluation),
        span=(evaluation["challenger"].get("ranges") or {}).get(release.evaluation.metric) or {},
        segments=judged[:_SEGMENTS],
        more_segments=max(0, len(judged) - _SEGMENTS),
        few=segments.get("few_total", 0),
        weakest=(segments.get("weakest") or [])[:_WEAKEST],
        open_checks=_open(evaluation),
        counted=_counted(evaluation),
        importance=(evaluation.get("importance") or [])[:_WEAKEST],
        fairness=(evaluation.get("fairness") or {}).get("attributes") or [],
        fair_checks=[check for check in evaluation.get("checks") or [] if check["family"] == "fairness" and check["status"] != "noted"],
        answers=answers,
        history=_history(around.releases),
    )
    return f"---\n{header}---\n\n{body}"


def metrics_table(evaluation: Mapping[str, Any]) -> str:
    """Challenger beside champion, a row per metric, as Markdown; with 95 % intervals where there are some."""
    challenger, champion = evaluation["challenger"], evaluation.get("champion") or {}
    rows = ["| metric | challenger | champion |", "|---|---|---|"]
    rows += [f"| {name} | {_value(challenger, name)} | {_value(champion, name)} |" for name in challenger["metrics"]]
    return "\n".join(rows)


def _value(model: Mapping[str, Any], name: str) -> str:
    if name not in model.get("metrics", {}):
        return "none"
    return f"{model['metrics'][name]:.4f}{_span((model.get('ranges') or {}).get(name) or {})}"


def _span(span: Mapping[str, Any]) -> str:
    low, high = span.get("lower"), span.get("upper")
    return "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"


def _header(release: Release, evaluation: Mapping[str, Any], policy: Policy, around: Around) -> dict[str, Any]:
    task = "tabular-classification" if policy.task == "binary" else "tabular-regression"
    start, end = release.evaluation.holdout
    found = {
        "task": {"type": task},
        "dataset": {"type": policy.name, "name": f"{policy.name}, hold-out {start:%Y-%m-%d} to {end:%Y-%m-%d}", "split": "test"},
        "metrics": [
            {"type": _HUB.get(name, name), "name": name, "value": round(float(value), 6)}
            for name, value in evaluation["challenger"]["metrics"].items()
        ],
    }
    header: dict[str, Any] = {"model_name": release.model.name}
    if around.license.startswith("LicenseRef-"):
        header |= {"license": "other", "license_name": around.license.removeprefix("LicenseRef-").lower()}
    elif around.license:
        header["license"] = around.license.lower()
    tags = ["modelyard", "tabular", policy.task, f"risk-{policy.risk.level}"]
    return header | {
        "library_name": "onnx",
        "pipeline_tag": task,
        "tags": tags,
        "model-index": [{"name": release.model.name, "results": [found]}],
    }


def _open(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The checks that did not pass; of those that the risk level does not demand, that too."""
    demanded = {"champion", *(evaluation.get("demand") or {}).get("checks", FAMILIES)}
    loud = [check for check in evaluation.get("checks") or [] if check["status"] in ("failed", "inconclusive", "unknown")]
    return [{**check, "aside": "" if check["family"] in demanded else f", not demanded at {evaluation['risk']}"} for check in loud]


def _counted(evaluation: Mapping[str, Any]) -> str:
    statuses = [check["status"] for check in evaluation.get("checks") or []]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


def _history(entries: Sequence[Entry]) -> list[dict[str, str]]:
    rows = []
    for entry in entries[:_RELEASES]:
        judged = entry.release.evaluation
        rows.append(
            {
                "date": f"{entry.date:%Y-%m-%d}",
                "what": "rollback" if entry.is_rollback else "release",
                "version": entry.release.model.version,
                "metric": f"{judged.metric} {judged.challenger:.4f}",
                "risk": entry.release.risk,
                "by": history.names(entry),
            }
        )
    return rows


def _license(project: Project) -> str:
    import tomllib

    path = project.root / "pyproject.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}).get("license", "") if path.exists() else ""
    return str(found) if isinstance(found, str) else ""


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in COMPUTES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:  # a project may train with other libraries
            continue
    return found


def _rows(project: Project) -> dict[str, int]:
    import pyarrow.parquet

    from modelyard import dataset

    files = [period.file for period in dataset.on_disk(project)]
    return {file.as_posix(): pyarrow.parquet.read_metadata(project.root / file).num_rows for file in files}


_CARDS = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # noqa: S701 - not HTML
_CARDS.filters |= {"plain": plain, "code": code, "span": _span, "number": lambda value: "none" if value is None else f"{value:.4f}"}
_CARD = _CARDS.from_string(Path(__file__).with_name("model-card.md.j2").read_text(encoding="utf-8"))
