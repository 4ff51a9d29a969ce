"""``modelyard report``: the model card, and the audit record."""

from __future__ import annotations

import json
from typing import Any

import click

from modelyard import history
from modelyard.errors import UsageError
from modelyard.outcome import Outcome
from modelyard.project import CARD, Project, find


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
