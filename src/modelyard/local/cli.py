"""``modelyard local``."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from modelyard import clock
from modelyard.errors import UsageError, WorkflowError
from modelyard.local.events import ALIASES, EVENTS
from modelyard.local.runs import WorkflowRun, run


def _pairs(_: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not equals and param.name == "inputs":
            raise UsageError(f"{value!r} is no input.", f"Write it as {name}=VALUE.")
        if not equals and name not in os.environ:
            raise UsageError(f"{name} is not set here.", f"Set it, or give its value: --env {name}=VALUE")
        pairs[name] = content if equals else os.environ[name]
    return pairs


def _payload(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    text = value
    if not value.lstrip().startswith("{"):
        try:
            text = Path(value).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"The payload {value} cannot be read: {error.strerror}.", "Give a file, or JSON text.") from None
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"The payload is no valid JSON: {error}.") from None
    if not isinstance(data, dict):
        raise UsageError("The payload is no JSON object.")
    return data


def _now(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    return clock.parse(value) if value else None


@click.command("local")
@click.argument("event", type=click.Choice([*EVENTS, *ALIASES]), metavar="EVENT")
@click.argument("workflow", required=False)
@click.option("--input", "inputs", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="Input of a dispatch; may be repeated.")
@click.option("--now", envvar="MODELYARD_NOW", callback=_now, metavar="DATE", help="Logical date that jobs see; default: the real clock.")
@click.option("--payload", callback=_payload, metavar="JSON|FILE", help="Laid over the payload; or the body of a repository dispatch.")
@click.option("--env", multiple=True, callback=_pairs, metavar="NAME[=VALUE]", help="Further variable for jobs; may be repeated.")
@click.option("--ref", default="HEAD", show_default=True, metavar="REV", help="Branch, tag or commit that the event happens at.")
@click.option("--before", metavar="REV", help="Commit before a push, or base of a pull request; default: the one before.")
@click.option("--push", is_flag=True, help="Let jobs push to an origin that is not on this machine.")
@click.option("--artifacts", type=click.Path(file_okay=False, path_type=Path), help="Folder that receives the artifacts of the runs.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the runs to this file.")
@click.option("--keep", is_flag=True, help="Leave the temporary folder.")
def command(
    event: str,
    workflow: str | None,
    inputs: dict[str, str],
    now: datetime | None,
    payload: dict[str, Any] | None,
    env: dict[str, str],
    ref: str,
    before: str | None,
    push: bool,
    artifacts: Path | None,
    json_file: Path | None,
    keep: bool,
) -> None:
    """Run the project's workflows on this machine, as GitHub would run them on EVENT.

    EVENT is push, pull_request, workflow_dispatch (or dispatch), schedule or repository_dispatch; WORKFLOW is the name of a file in
    .github/workflows, default all that the event starts. What is not committed is not run.

    Exit code 1 where a workflow fails.
    """
    runs = run(
        Path.cwd(), event, workflow,
        inputs=inputs, payload=payload, now=now, env=env, ref=ref, before=before, push=push, artifacts=artifacts, keep=keep,
    )  # fmt: skip
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps([as_json(one, now) for one in runs], indent=2) + "\n", encoding="utf-8")
    for one in runs:
        click.echo(f"{one.workflow}: {one.conclusion}{f', {one.verdict}' if one.verdict else ''} ({one.seconds:.1f} s)")
    if not runs:
        click.echo("No workflow was started.")
    if failed := [one for one in runs if one.conclusion == "failure"]:
        words = "; ".join(dict.fromkeys(problem for one in failed for problem in one.problems[:5]))
        raise WorkflowError(f"{', '.join(one.workflow for one in failed)} failed: {words}")


def as_json(one: WorkflowRun, now: datetime | None) -> dict[str, Any]:
    """One entry of the file that ``--json`` writes."""
    return {
        "date": now.isoformat() if now else None,
        "workflow": one.workflow,
        "event": one.event,
        "conclusion": one.conclusion,
        "seconds": one.seconds,
        "verdict": one.verdict,
        "outputs": one.outputs,
    }
