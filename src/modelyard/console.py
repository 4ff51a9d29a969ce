"""Progress for people: rich on a terminal, plain lines in CI; always on stderr, since stdout is the report."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def is_interactive() -> bool:
    """Whether a person watches: a terminal, and not a CI job (act gives its steps a terminal too)."""
    return sys.stderr.isatty() and not os.environ.get("CI")


_ERASE = "\r\x1b[2K"


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"{_ERASE if is_interactive() else ''}{text}", file=sys.stderr, flush=True)


def under_way(text: str) -> None:
    """Show what is under way until the next line replaces it; only to a person."""
    if is_interactive():
        print(f"{_ERASE}{text} ...", end="", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that ``title`` is under way, and at its end how long it took."""
    started = time.monotonic()
    if is_interactive():
        from rich.console import Console

        with Console(stderr=True).status(title):
            yield
    else:
        say(f"{title} ...")
        yield
    say(f"{title}: {time.monotonic() - started:.1f} s")
