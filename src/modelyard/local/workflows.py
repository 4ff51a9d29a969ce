"""The workflow files of one commit: what starts them, what they use, and what cannot run here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from modelyard import git
from modelyard.errors import UsageError, WorkflowError

FOLDER = ".github/workflows"
STANDINS = Path(__file__).parent / "standins"

#: Third-party action -> our stand-in for it. Others are refused: what is not known is not run.
ACTIONS = {
    "actions/checkout": "checkout",
    "actions/upload-artifact": "upload-artifact",
    "actions/download-artifact": "download-artifact",
    "actions/cache": "cache",
    "actions/attest-build-provenance": "attest-build-provenance",
    "astral-sh/setup-uv": "setup-uv",
}
_LABELS = {"ubuntu-latest", "ubuntu-slim", "ubuntu-24.04", "ubuntu-22.04", "self-hosted"}


class _Loader(yaml.SafeLoader):
    """YAML as GitHub reads it (1.2): `on`, `off`, `yes` and dates are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the name and type are PyYAML's
        first: [(tag, regexp) for tag, regexp in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


@dataclass(frozen=True)
class Workflow:
    """One file of ``.github/workflows`` at one commit."""

    stem: str
    path: str
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """What act calls it."""
        return str(self.content.get("name") or PurePosixPath(self.path).name)

    @property
    def triggers(self) -> dict[str, dict[str, Any]]:
        """Event -> its settings. ``schedule`` is a list in the file: here ``{"crons": [...]}``."""
        on: Any = self.content.get("on")
        if isinstance(on, str):
            return {on: {}}
        if isinstance(on, list):
            return {str(event): {} for event in on}
        return {event: {"crons": [entry["cron"] for entry in v]} if event == "schedule" else v or {} for event, v in (on or {}).items()}

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """Job id -> the job."""
        return {str(job_id): job for job_id, job in (self.content.get("jobs") or {}).items()}


@dataclass(frozen=True)
class Needs:
    """What a workflow needs from this machine: stand-ins (``owner/repo@ref`` -> folder) and labels of runners."""

    actions: dict[str, Path]
    labels: frozenset[str]


@dataclass(frozen=True)
class Tree:
    """The files of one commit of a repository."""

    repository: Path
    commit: str

    def parse(self, path: str) -> dict[str, Any] | None:
        """The YAML file ``path``; None where it is not there."""
        content = git.show(self.repository, self.commit, path)
        if content is None:
            return None
        try:
            data = yaml.load(content, _Loader)  # noqa: S506  # a safe loader
        except yaml.YAMLError as error:
            raise WorkflowError(f"{path} is no valid YAML: {error}") from None
        if not isinstance(data, dict):
            raise WorkflowError(f"{path} is no mapping.", "See the workflow syntax of GitHub Actions.")
        return data

    def workflow(self, path: str) -> Workflow:
        """The workflow file ``path``."""
        content = self.parse(path)
        if content is None:
            raise WorkflowError(f"{path} is used, but commit {self.commit[:8]} does not hold it.", "Commit it, or correct `uses:`.")
        return Workflow(PurePosixPath(path).stem, path, content)

    def workflows(self) -> list[Workflow]:
        """All of them, by name of file."""
        names = git.run("ls-tree", "--name-only", self.commit, f"{FOLDER}/", cwd=self.repository).splitlines()
        return [self.workflow(name) for name in sorted(names) if name.endswith((".yml", ".yaml"))]


def choose(all_: list[Workflow], event: str, wanted: str | None) -> list[Workflow]:
    """The workflows that have ``event``, or the one that is wanted.

    Raises
    ------
    UsageError
        There is none; the nearest name or the events that exist are named.
    """
    if not all_:
        raise UsageError(f"This commit has no workflows ({FOLDER}/ is missing or empty).", "Commit them: what is not committed is not run.")
    if wanted is None:
        found = [workflow for workflow in all_ if event in workflow.triggers]
        if not found:
            events = sorted({name for workflow in all_ for name in workflow.triggers} - {"workflow_call"})
            raise UsageError(f"No workflow runs on {event}.", f"Events of this project: {', '.join(events) or 'none'}.")
        return found
    stems = {workflow.stem: workflow for workflow in all_}
    one = stems.get(PurePosixPath(wanted).stem if wanted.endswith((".yml", ".yaml")) else wanted)
    if one is None:
        near = difflib.get_close_matches(wanted, stems, 1)
        raise UsageError(f"There is no workflow {wanted!r}.", f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(stems)}.")
    if event not in one.triggers:
        raise UsageError(f"The workflow {one.stem!r} does not run on {event}.", f"It runs on {', '.join(one.triggers)}.")
    return [one]


def paths(tree: Tree, workflow: Workflow, prefix: str = "", caller: str = "") -> Iterator[tuple[str, str]]:
    """Each job as (name that act logs, path of job ids such as ``train/evaluate``); jobs of reusable workflows too."""
    for job_id, job in workflow.jobs.items():
        name = str(job.get("name") or job_id)
        yield (f"{caller}/" if caller else "") + f"{workflow.name}/{name}", prefix + job_id
        if str(job.get("uses", "")).startswith("./"):
            yield from paths(tree, tree.workflow(job["uses"][2:]), f"{prefix}{job_id}/", name)


def needs(tree: Tree, workflow: Workflow) -> Needs:
    """Walk a workflow, its reusable workflows and local actions.

    Raises
    ------
    WorkflowError
        It uses something that has no stand-in here.
    """
    actions: dict[str, Path] = {}
    labels = set(_LABELS)
    for where, uses, is_job in _uses(tree, workflow, labels, ()):
        owner, repo, *folder = uses.partition("@")[0].split("/") if "/" in uses else (uses, "")
        standin = ACTIONS.get(f"{owner}/{repo}")
        if is_job or standin is None or not (STANDINS / standin).joinpath(*folder, "action.yml").is_file():
            raise WorkflowError(
                f"{where} uses {uses}, which cannot run on this machine.",
                f"Here there are: {', '.join(ACTIONS)}, and actions and workflows of the project itself (./...).",
            )
        actions[f"{owner}/{repo}@{uses.partition('@')[2]}"] = STANDINS / standin
    if foreign := sorted(label for label in labels if label.lower().startswith(("windows", "macos"))):
        raise WorkflowError(f"{workflow.path} needs a runner {foreign[0]}.", "Only jobs for Linux run here.")
    return Needs(actions, frozenset(labels))


def _uses(tree: Tree, workflow: Workflow, labels: set[str], stack: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    if workflow.path in stack:
        raise WorkflowError(f"Workflows call each other in a circle: {' > '.join([*stack, workflow.path])}.")
    labels |= {label for trigger in workflow.triggers.values() for label in _input_labels(trigger)}
    for job_id, job in workflow.jobs.items():
        labels |= set(_labels(job.get("runs-on"))) | {label for value in (job.get("with") or {}).values() for label in _labels(value)}
        uses = str(job.get("uses", ""))
        if uses.startswith("./"):
            yield from _uses(tree, tree.workflow(uses[2:]), labels, (*stack, workflow.path))
        elif uses:
            yield f"{workflow.path}: job {job_id}", uses, True
        yield from _step_uses(tree, f"{workflow.path}: job {job_id}", job.get("steps") or [], ())


def _step_uses(tree: Tree, where: str, steps: list[dict[str, Any]], stack: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    for uses in [str(step["uses"]) for step in steps if "uses" in step]:
        if not uses.startswith("./"):
            yield where, uses, False
            continue
        folder = str(PurePosixPath(uses[2:]))
        if folder in stack:
            raise WorkflowError(f"Actions use each other in a circle: {' > '.join([*stack, folder])}.")
        action = tree.parse(f"{folder}/action.yml") or tree.parse(f"{folder}/action.yaml")
        if action is None:
            what = f"{where} uses {uses}, but commit {tree.commit[:8]} has no {folder}/action.yml."
            raise WorkflowError(what, "Commit it, or correct `uses:`.")
        yield from _step_uses(tree, f"{folder}/action.yml", (action.get("runs") or {}).get("steps") or [], (*stack, folder))


def _input_labels(trigger: dict[str, Any]) -> Iterator[str]:
    for spec in (trigger.get("inputs") or {}).values():
        yield from _labels((spec or {}).get("default"))


def _labels(runs_on: Any) -> Iterator[str]:
    """Labels in ``runs-on``: a word, a list, ``{labels: ...}``, or JSON text such as ``'["gpu"]'`` in an input or expression."""
    if isinstance(runs_on, list):
        yield from (str(label) for label in runs_on if "${{" not in str(label))
    elif isinstance(runs_on, dict):
        yield from _labels(runs_on.get("labels"))
    elif isinstance(runs_on, str):
        yield from re.findall(r'"([\w.-]+)"', runs_on) if "[" in runs_on else re.findall(r"^[\w.-]+$", runs_on)
