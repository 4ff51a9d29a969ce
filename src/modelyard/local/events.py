"""The payload of an event, as GitHub would send it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard import git
from modelyard.errors import UsageError
from modelyard.local.workflows import Workflow

EVENTS = ("push", "pull_request", "workflow_dispatch", "schedule", "repository_dispatch")
ALIASES = {"dispatch": "workflow_dispatch", "pr": "pull_request"}
REPOSITORY = "local/project"
_NOTHING = "0" * 40
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened: an event at a commit."""

    name: str
    ref: str  # refs/heads/..., refs/tags/... or, for a pull request, refs/pull/1/merge
    commit: str
    default_branch: str = "main"
    before: str = _NOTHING
    paths: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def filtered_ref(self) -> str:
        """The ref that ``branches:`` looks at: of a pull request, the one it goes into."""
        return f"refs/heads/{self.default_branch}" if self.name == "pull_request" else self.ref

    @property
    def action(self) -> str:
        """Activity type; empty where the event has none."""
        return str(self.extra.get("action") or ("synchronize" if self.name == "pull_request" else ""))


def make(root: Path, name: str, *, rev: str, before: str | None, default_branch: str, payload: dict[str, Any] | None) -> Event:
    """Look up in the repository what an event is about.

    Parameters
    ----------
    rev
        Branch, tag or commit that it happens at.
    before
        What the branch was before (``push``), or the base (``pull_request``); default: the first parent, or the default branch.
    payload
        Laid over the payload that is made up here.
    """
    commit = git.head(root, rev)
    ref = _ref(root, rev, default_branch)
    extra = dict(payload or {})
    if name == "repository_dispatch":
        extra = _dispatch(extra)
    if name == "push":
        parent = git.attempt("rev-parse", "--verify", "--quiet", f"{commit}^", cwd=root).stdout.decode().strip()
        before = git.head(root, before) if before else parent or _NOTHING
        base = _EMPTY_TREE if before == _NOTHING else before
    elif name == "pull_request":
        base = before = _merge_base(root, before, default_branch, commit)
        extra.setdefault("number", 1)
    else:
        return Event(name=name, ref=ref, commit=commit, default_branch=default_branch, extra=extra)
    changed = git.run("diff", "--name-only", "--no-renames", "-z", base, commit, cwd=root)
    paths = tuple(path for path in changed.split("\0") if path)
    return Event(name=name, ref=ref, commit=commit, default_branch=default_branch, before=before, paths=paths, extra=extra)


def _ref(root: Path, rev: str, default_branch: str) -> str:
    full = git.attempt("rev-parse", "--symbolic-full-name", rev, cwd=root).stdout.decode().strip()
    if full.startswith("refs/remotes/"):
        return "refs/heads/" + full.split("/", 3)[3]
    return full if full.startswith(("refs/heads/", "refs/tags/")) else f"refs/heads/{default_branch}"


def _merge_base(root: Path, before: str | None, default_branch: str, commit: str) -> str:
    candidates = [before] if before else [f"origin/{default_branch}", default_branch, f"{commit}^"]
    for candidate in candidates:
        done = git.attempt("merge-base", candidate, commit, cwd=root)
        if done.returncode == 0 and (before or done.stdout.decode().strip() != commit):
            return done.stdout.decode().strip()
    if before:
        raise UsageError(f"{before} is no commit that this one comes from.", "Give --before a commit or branch.")
    return commit


def _dispatch(payload: dict[str, Any]) -> dict[str, Any]:
    """Accept the REST call's form (``event_type``), the event's (``action``), or the bare ``client_payload``."""
    kind = payload.pop("event_type", None) or payload.pop("action", "")
    return {"action": kind, "client_payload": payload.get("client_payload", payload)}


def payload(event: Event, workflow: Workflow, inputs: dict[str, str]) -> dict[str, Any]:
    """What a job sees as ``github.event``.

    Raises
    ------
    UsageError
        An input that the workflow does not have, or one that it must have is missing.
    """
    trigger = workflow.triggers[event.name]
    branch = event.ref.removeprefix("refs/heads/")
    project = {"full_name": REPOSITORY, "name": "project", "default_branch": event.default_branch, "fork": False}
    made: dict[str, Any] = {"repository": project}
    if event.name == "push":
        head = {"id": event.commit, "modified": list(event.paths)}
        made |= {"ref": event.ref, "before": event.before, "after": event.commit, "deleted": False, "forced": False}
        made |= {"created": event.before == _NOTHING, "head_commit": head, "commits": [head]}
    elif event.name == "pull_request":
        pull = {
            "number": event.extra["number"], "draft": False, "merged": False, "labels": [], "title": "Local pull request", "body": "",
            "head": {"ref": branch, "sha": event.commit, "repo": project},
            "base": {"ref": event.default_branch, "sha": event.before, "repo": project},
        }  # fmt: skip
        made |= {"action": event.action, "pull_request": pull}
    elif event.name == "workflow_dispatch":
        made |= {"ref": event.ref, "workflow": workflow.path, "inputs": _inputs(workflow, trigger.get("inputs") or {}, inputs)}
    elif event.name == "schedule":
        made |= {"schedule": trigger["crons"][0]}
    elif event.name == "repository_dispatch":
        made |= {"action": (trigger.get("types") or [""])[0] if isinstance(trigger.get("types"), list) else trigger.get("types", "")}
        made |= {"branch": event.default_branch}
    return _over(made, {key: value for key, value in event.extra.items() if value != ""})


def _inputs(workflow: Workflow, declared: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1)
            known = f"Did you mean {near[0]!r}?" if near else f"Its inputs: {', '.join(declared) or 'none'}."
            raise UsageError(f"The workflow {workflow.stem!r} has no input {name!r}.", known)
    values = {}
    for name, spec in ((name, spec or {}) for name, spec in declared.items()):
        value = given.get(name, spec.get("default", "false" if spec.get("type") == "boolean" else ""))
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if spec.get("required") and text == "":
            raise UsageError(f"The workflow {workflow.stem!r} needs the input {name!r}.", f"Give it: --input {name}=...")
        allowed = ["true", "false"] if spec.get("type") == "boolean" else [str(option) for option in spec.get("options", [])]
        if allowed and text not in allowed:
            raise UsageError(f"The input {name!r} cannot be {text!r}.", f"It is one of {', '.join(allowed)}.")
        values[name] = text
    return values


def _over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """``top`` laid over ``base``, mapping by mapping."""
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged
