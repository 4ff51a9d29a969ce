"""The releases of a project, as ``git log releases/`` tells them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from modelyard import git, release
from modelyard.errors import PolicyError
from modelyard.project import RELEASE
from modelyard.release import Release


@dataclass(frozen=True)
class Entry:
    """A commit on main that changed what is in production."""

    commit: str
    date: datetime
    author: str
    release: Release


def releases(root: Path, rev: str = "HEAD") -> list[Entry]:
    """The releases up to ``rev``, the newest first; records that cannot be read are left out.

    A merge counts as one release, by the person who merged it.
    """
    log = git.run("log", "--first-parent", "-m", "--format=%H%x09%cI%x09%an", git.head(root, rev), "--", RELEASE.as_posix(), cwd=root)
    entries = []
    for line in log.splitlines():
        commit, date, author = line.split("\t", 2)
        text = git.show(root, commit, RELEASE.as_posix())
        if text is None:
            continue
        try:
            entries.append(Entry(commit, datetime.fromisoformat(date), author, release.read(text)))
        except PolicyError:
            continue
    return entries
