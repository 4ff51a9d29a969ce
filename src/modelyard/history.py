"""The releases of a project, as ``git log releases/`` tells them, and who approved each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard import git, release
from modelyard.console import say
from modelyard.errors import PolicyError, RegistryError
from modelyard.person import Approval, Person, noted, once
from modelyard.project import RELEASE
from modelyard.release import Release

if TYPE_CHECKING:
    from modelyard.project import Project

_FIELDS = "--format=%H%x09%P%x09%cI%x09%an%x09%ae%x09%(trailers:key=Approved-by,valueonly,unfold,separator=%x1f)"


@dataclass(frozen=True)
class Commit:
    """A commit, and whom its trailers ``Approved-by`` name."""

    id: str
    parents: list[str]
    date: datetime
    author: Person
    signers: list[Person]


@dataclass(frozen=True)
class Entry:
    """A commit on main that changed what is in production."""

    commit: str
    date: datetime
    author: Person
    release: Release
    is_rollback: bool = False  # an earlier record came back as it was
    approvals: Sequence[Approval] = ()  # filled by approved()


def releases(root: Path, rev: str = "HEAD") -> list[Entry]:
    """The releases up to ``rev``, the newest first; records that cannot be read are left out.

    A merge counts as one release, by the person who merged it.
    """
    entries: list[Entry] = []
    for commit in reversed(commits(root, "--first-parent", "-m", git.head(root, rev), "--", RELEASE.as_posix())):
        text = git.show(root, commit.id, RELEASE.as_posix())
        if text is None:
            continue
        try:
            record = release.read(text)
        except PolicyError:
            continue
        back = any(record == earlier.release for earlier in entries)
        entries.append(Entry(commit.id, commit.date, commit.author, record, back))
    return entries[::-1]


def approved(project: Project, rev: str = "HEAD") -> list[Entry]:
    """The same with who approved each: those whom promote noted in the registry, else those whom git names.

    For a rollback answers who asked for it, not who approved the record once.
    """
    entries = releases(project.root, rev)
    notes = _notes(project) if entries else {}
    ends = [git.head(project.root, rev), *(f"{entry.commit}^" for entry in entries)]  # of the time in which each could be signed
    return [replace(entry, approvals=_approvals(project, entry, notes, end)) for entry, end in zip(entries, ends, strict=False)]


def names(entry: Entry) -> str:
    """All who approved a release, with how that is known, on one line."""
    return ", ".join(each.brief for each in entry.approvals) or "not known"


def _approvals(project: Project, entry: Entry, notes: Mapping[str, str], end: str) -> list[Approval]:
    found = [Approval(entry.author, "commit", entry.date)]
    if not entry.is_rollback:
        if by := entry.release.approved_by:
            return [Approval(Person(by.removeprefix("policy: "), ""), "policy", entry.date)]
        if note := notes.get(entry.release.model.version):
            return noted(note)
        found += signatures(project.root, entry.commit, end)
    return once(found, project.policy.risk.roles)


def _notes(project: Project) -> dict[str, str]:
    """What promote noted: version -> who approved it; empty where there is no registry."""
    from modelyard import registry, state
    from modelyard.promote import APPROVED  # a module that asks for the history itself

    folder = project.root / state.FOLDER
    if not (registry.is_remote() or (folder / state.DATABASE).exists()):
        say("There is no registry here, so git says who approved: `modelyard state pull` brings it.")
        return {}
    try:
        found = registry.versions(registry.connect(folder), project.policy.name)
    except RegistryError as error:
        say(f"The registry does not say who approved, so git does. {error}")
        return {}
    return {version.version: version.tags[APPROVED] for version in found if APPROVED in version.tags}


def commits(root: Path, *args: str) -> list[Commit]:
    """What ``git log`` lists."""
    found = []
    for line in filter(None, git.run("log", _FIELDS, *args, cwd=root).split("\n")):
        identity, parents, date, name, mail, trailers = line.split("\t", 5)
        signers = [person for person in map(Person.parse, trailers.split("\x1f")) if "@" in person.id]
        found.append(Commit(identity, parents.split(), datetime.fromisoformat(date), Person(name, mail), signers))
    return found


def signatures(root: Path, commit: str, end: str) -> Iterator[Approval]:
    """Who signed the commit by which a release came to main, or a commit without changes on the release branch, or on main up to ``end``.

    A commit that changes something is signed for that: whoever reviewed it has not seen the release.
    """
    (merge,) = commits(root, "-1", commit)
    ranges = [f"{merge.id}..{end}", *(f"{merge.parents[0]}..{parent}" for parent in merge.parents[1:])]
    empty = [each for some in ranges for each in commits(root, "--reverse", some) if each.signers and _is_empty(root, each)]
    for each in (merge, *empty):
        yield from (Approval(person, "trailer", each.date) for person in each.signers)


def _is_empty(root: Path, commit: Commit) -> bool:
    trees = [git.run("rev-parse", f"{each}^{{tree}}", cwd=root) for each in (commit.id, *commit.parents)]
    return len(trees) == 2 and trees[0] == trees[1]
