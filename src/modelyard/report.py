"""``modelyard report``: the model card, and the audit record."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import click

from modelyard import history
from modelyard.errors import UsageError
from modelyard.outcome import Outcome
from modelyard.page.markdown import plain
from modelyard.person import Approval
from modelyard.project import CARD, Project, find


def audit(project: Project) -> list[dict[str, Any]]:
    """What was in production and why, the newest first: one object per release on main.

    A rollback restores a record as it was; who asked for it is the author of its commit, not who approved the record once.
    """
    return [
        {
            "commit": entry.commit,
            "date": entry.date.isoformat(),
            "rollback": entry.is_rollback,
            "approved_by": ", ".join(str(each.person) for each in entry.approvals),
            "approvals": [_approval(each) for each in entry.approvals],
            **entry.release.model_dump(mode="json", exclude={"approved_by"}),
        }
        for entry in history.approved(project)
    ]


def _approval(given: Approval) -> dict[str, Any]:
    when = given.when.astimezone(UTC).isoformat() if given.when else None
    return {"name": given.person.name, "id": given.person.id, "roles": list(given.roles), "how": given.how, "when": when}


@click.command("report")
@click.argument("what", type=click.Choice(["audit", "card"]), default="audit")
@click.option("--json", "as_json", is_flag=True, help="The audit record as JSON.")
def command(what: str, as_json: bool) -> Outcome:
    """Write the model card or the audit record.

    audit: every release on main, all who approved it (with their role, when, and how that is known: from the forge, a commit, a trailer
    in git, or by policy), on what data it was trained, and its evaluation. Promote notes approvers in the registry: without it git answers.
    card: the card of the model in production.
    """
    project = find()
    if what == "card":
        path = project.root / CARD
        if not path.exists():
            raise UsageError("There is no model card: nothing was released yet.")
        return Outcome(verdict="", summary=path.read_text(encoding="utf-8").rstrip())
    if as_json:
        return Outcome(verdict="", summary=json.dumps(audit(project), indent=2))
    entries = history.approved(project)
    rows = ["| commit | date | what | version | metric | champion before | periods | approved by |", "|---|---|---|---|---|---|---|---|"]
    for entry in entries:
        judged, version = entry.release.evaluation, entry.release.model.version
        what = "rollback" if entry.is_rollback else "release"
        before = "none" if judged.champion is None else f"{judged.champion:.4f}"
        metric, by = f"{judged.metric} {judged.challenger:.4f}", plain(history.names(entry))
        cells = [entry.commit[:12], f"{entry.date:%Y-%m-%d}", what, version, metric, before, len(entry.release.data), by]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    title = f"**{len(entries)} releases**" if entries else "**Nothing was released yet.**"
    return Outcome(verdict="", summary="\n".join([title, "", *rows] if entries else [title]))
