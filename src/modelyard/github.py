"""All that knows ``GITHUB_*`` files, ``::`` commands and the forge's REST API."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from modelyard.outcome import Outcome

_SUMMARY_LIMIT = 1_000_000  # GitHub drops a step summary of more than 1 MiB
_ANNOTATIONS = 10  # and shows ten errors a step


def publish(outcome: Outcome) -> None:
    """Tell an outcome: the summary on stdout, and in a job also outputs, step summary and annotations."""
    print(outcome.summary, flush=True)
    write_outputs({"verdict": outcome.verdict, **outcome.outputs})
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(path, outcome.summary.encode()[:_SUMMARY_LIMIT].decode(errors="ignore") + "\n\n")
    shown = outcome.problems[: _ANNOTATIONS - 1]
    for problem in shown:
        annotate("warning" if outcome.positive else "error", problem)
    if hidden := len(outcome.problems) - len(shown):
        annotate("warning", f"{hidden} more problems stand in the summary.")


def write_outputs(outputs: dict[str, str]) -> None:
    """Append outputs of the running step; nothing happens outside a job."""
    if path := os.environ.get("GITHUB_OUTPUT"):
        for name, value in outputs.items():
            mark = f"end-{secrets.token_hex(8)}"  # random, so that a value cannot end itself early
            _append(path, f"{name}<<{mark}\n{value}\n{mark}\n")


def annotate(level: str, message: str) -> None:
    """Show an annotation (``error``, ``warning`` or ``notice``) in a job."""
    if os.environ.get("GITHUB_ACTIONS"):
        safe = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::{level}::{safe}", flush=True)


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
