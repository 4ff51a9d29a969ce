"""The other tools, each in an environment of its own; an adapter inside of it answers one JSON line per check.

Question: ``{"reference": FILE, "current": FILE, "chunk_size": null, "html": null}``. Answer: ``{"seconds": ..., "columns":
{column: {"drift": true, "missing": false, "unseen": null}}}``; null where the tool was not asked.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import flights

HERE = Path(__file__).parent
TOOLS = ["evidently", "nannyml"]
PYTHON = "3.11"
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore"}  # and no usage data sent


def environment(tool: str, cache: Path) -> Path:
    """The tool's Python; its environment is made where it is not there, or is not that of the requirements."""
    pins = (HERE / f"requirements-{tool}.txt").read_text()
    home = flights.folder(cache) / tool
    stamp = home / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != pins:
        click.echo(f"Installing {tool} ...", err=True)
        subprocess.run(["uv", "venv", "-q", "--clear", "--python", PYTHON, home], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", home, "-r", HERE / f"requirements-{tool}.txt"], check=True)
        stamp.write_text(pins)
    return home / "bin" / "python"


def command(tool: str, cache: Path) -> list[str | Path]:
    """The adapter's command line."""
    return [environment(tool, cache), HERE / f"{tool}_adapter.py"]


class Peer:
    """A running adapter."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def check(self, reference: Path, current: Path, **options: Any) -> dict[str, Any]:
        """Ask for one check."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("The adapter has no pipes.")
        process.stdin.write(json.dumps({"reference": str(reference), "current": str(current), **options}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The adapter ended with {process.wait()}: see above.")
        return json.loads(answer)


@contextmanager
def running(tool: str, cache: Path) -> Iterator[Peer]:
    """Start an adapter, and end it."""
    with subprocess.Popen(
        command(tool, cache), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **QUIET}
    ) as process:
        yield Peer(process)
        if process.stdin:
            process.stdin.close()


@click.command(help="Make the environments of the other tools.")
@flights.CACHE
def main(cache: Path) -> None:
    for tool in TOOLS:
        click.echo(environment(tool, cache))


if __name__ == "__main__":
    main()
