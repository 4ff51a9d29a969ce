"""Which workflows an event starts: GitHub's filter patterns and rules, which act ignores. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Activity types that start a workflow which names none.
_DEFAULT_TYPES = {"pull_request": ("opened", "synchronize", "reopened")}


def pattern(glob: str) -> re.Pattern[str]:
    """Translate one of GitHub's filter patterns.

    ``*`` is any run of characters but ``/``, ``**`` of any characters, ``**/`` any folders or none, ``?`` and ``+`` repeat the
    character before them, ``[a-z]`` is a set, and a backslash takes the next character as it is.
    """
    out, at = "", 0
    while at < len(glob):
        rest = glob[at:]
        if rest.startswith("**/"):
            out, at = out + "(?:.*/)?", at + 3
        elif rest.startswith("**"):
            out, at = out + ".*", at + 2
        elif rest[0] == "*":
            out, at = out + "[^/]*", at + 1
        elif rest[0] in "?+" and out:
            out, at = out + rest[0], at + 1
        elif rest[0] == "[" and (end := rest.find("]", 2)) > 0:
            out, at = out + "[" + rest[1:end].replace("\\", "\\\\") + "]", at + end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            out, at = out + re.escape(rest[1]), at + 2
        else:
            out, at = out + re.escape(rest[0]), at + 1
    return re.compile(out)


def included(patterns: Iterable[str], name: str) -> bool:
    """Whether ``name`` is in; the last pattern that matches decides, ``!`` takes out."""
    result = False
    for glob in patterns:
        negated = glob.startswith("!")
        if pattern(glob[1:] if negated else glob).fullmatch(name):
            result = not negated
    return result


def refusal(event: str, trigger: Mapping[str, Any], *, ref: str, paths: Sequence[str] = (), action: str = "") -> str:
    """Why an event starts no run; empty where it does.

    Parameters
    ----------
    event
        Its name, such as ``push``.
    trigger
        What stands under that name below ``on:``.
    ref
        ``refs/heads/...`` or ``refs/tags/...``: what was pushed, or what a pull request goes into.
    paths
        Files that changed.
    action
        Activity type, such as ``closed``; empty where the event has none.
    """
    types = _texts(trigger.get("types")) or _DEFAULT_TYPES.get(event, ())
    if action and types and action not in types:
        return f"its types are {', '.join(types)}, not {action}"
    if event not in ("push", "pull_request"):
        return ""
    is_tag = ref.startswith("refs/tags/")
    return _ref_refusal(trigger, ref.split("/", 2)[-1], is_tag) or ("" if is_tag else _path_refusal(trigger, paths))


def _ref_refusal(trigger: Mapping[str, Any], name: str, is_tag: bool) -> str:
    mine, other = ("tags", "branches") if is_tag else ("branches", "tags")
    if mine in trigger:
        return "" if included(_texts(trigger[mine]), name) else f"its {mine} filter leaves {name} out"
    if f"{mine}-ignore" in trigger:
        return f"its {mine}-ignore filter names {name}" if included(_texts(trigger[f"{mine}-ignore"]), name) else ""
    if other in trigger or f"{other}-ignore" in trigger:
        return f"it runs for {other} only"
    return ""


def _path_refusal(trigger: Mapping[str, Any], paths: Sequence[str]) -> str:
    if "paths" in trigger and not any(included(_texts(trigger["paths"]), path) for path in paths):
        return "its paths filter matches no changed file"
    if "paths-ignore" in trigger and all(included(_texts(trigger["paths-ignore"]), path) for path in paths):
        return "its paths-ignore filter matches every changed file"
    return ""


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)
