"""``modelyard report``: the model card, and the audit record."""

from __future__ import annotations

import json
from typing import Any

import click
from jinja2 import Environment, StrictUndefined

from modelyard import history
from modelyard.errors import UsageError
from modelyard.outcome import Outcome
from modelyard.policy import Policy
from modelyard.project import CARD, Project, find
from modelyard.release import Release

_MARKDOWN = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # noqa: S701 - not HTML
_CARD = _MARKDOWN.from_string(
    """\
# {{ release.model.name }}, version {{ release.model.version }}

**{{ release.evaluation.metric }} {{ "%.4f" | format(release.evaluation.challenger) }}** on the {{ days }} days before {{ holdout_end }},
which were not trained on.

| | |
|---|---|
| Purpose | {{ policy.risk.purpose or "not stated: see risk.purpose in modelyard.yaml" }} |
| Owner | {{ policy.risk.owner or "not stated: see risk.owner in modelyard.yaml" }} |
| Risk | {{ release.risk }} |
| Task | {{ policy.task }}; label `{{ policy.data.label }}` |
| Trained from | commit {{ release.code.commit[:12] }}, {{ release.data | length }} periods of data |
| Logical date | {{ release.logical_date.strftime("%Y-%m-%d") }} ({{ release.trigger }}) |
| Model file | `{{ release.model.path }}`, SHA-256 `{{ release.model.sha256 }}` |
| Registry | run `{{ release.model.run_id }}` |

## How good it is

{{ table }}

{% for reason in reasons %}
- {{ reason }}
{% endfor %}

## What it learnt from

{% for batch in release.data %}
- `{{ batch.path }}` ({{ batch.md5 }})
{% endfor %}

## Rebuild it

    git checkout {{ release.code.commit[:12] }} && git checkout <this release> -- dvc.lock data
    uv sync --locked && uv run modelyard state pull && uv run dvc pull && uv run dvc repro
"""
)


def card(release: Release, evaluation: dict[str, Any], policy: Policy) -> str:
    """The model card, as Markdown."""
    return _CARD.render(
        release=release,
        policy=policy,
        table=metrics_table(evaluation),
        reasons=evaluation.get("reasons", []),
        days=policy.evaluate.holdout_days,
        holdout_end=f"{release.evaluation.holdout[1]:%Y-%m-%d}",
    )


def metrics_table(evaluation: dict[str, Any]) -> str:
    """Challenger beside champion, a row per metric, as Markdown."""
    champion = (evaluation.get("champion") or {}).get("metrics", {})
    rows = ["| metric | challenger | champion |", "|---|---|---|"]
    for name, value in evaluation["challenger"]["metrics"].items():
        other = f"{champion[name]:.4f}" if name in champion else "none"
        rows.append(f"| {name} | {value:.4f} | {other} |")
    return "\n".join(rows)


def audit(project: Project) -> list[dict[str, Any]]:
    """What was in production and why, the newest first: one object per release on main.

    A rollback restores a record as it was; who asked for it is the author of its commit, not who approved the record once.
    """
    entries = history.releases(project.root)
    rows = []
    for index, entry in enumerate(entries):
        is_rollback = any(entry.release == earlier.release for earlier in entries[index + 1 :])
        rows.append(
            {
                "commit": entry.commit,
                "date": entry.date.isoformat(),
                "rollback": is_rollback,
                "approved_by": entry.author if is_rollback else entry.release.approved_by or entry.author,
                **entry.release.model_dump(mode="json", exclude={"approved_by"}),
            }
        )
    return rows


@click.command("report")
@click.argument("what", type=click.Choice(["audit", "card"]), default="audit")
@click.option("--json", "as_json", is_flag=True, help="The audit record as JSON.")
def command(what: str, as_json: bool) -> Outcome:
    """Write the model card or the audit record.

    audit: every release on main, who approved it, on what data it was trained, and its evaluation.
    card: the card of the model in production.
    """
    project = find()
    if what == "card":
        path = project.root / CARD
        if not path.exists():
            raise UsageError("There is no model card: nothing was released yet.")
        return Outcome(verdict="", summary=path.read_text(encoding="utf-8").rstrip())
    entries = audit(project)
    if as_json:
        return Outcome(verdict="", summary=json.dumps(entries, indent=2))
    rows = ["| commit | date | what | version | metric | champion before | periods | approved by |", "|---|---|---|---|---|---|---|---|"]
    for entry in entries:
        judged, version = entry["evaluation"], entry["model"]["version"]
        what = "rollback" if entry["rollback"] else "release"
        before = "none" if judged["champion"] is None else f"{judged['champion']:.4f}"
        metric = f"{judged['metric']} {judged['challenger']:.4f}"
        cells = [entry["commit"][:12], entry["date"][:10], what, version, metric, before, len(entry["data"]), entry["approved_by"]]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    title = f"**{len(entries)} releases**" if entries else "**Nothing was released yet.**"
    return Outcome(verdict="", summary="\n".join([title, "", *rows] if entries else [title]))
