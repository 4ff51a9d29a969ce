"""Who approved a release, and whether these people are enough for its risk level.

The forge's pull request says it best: its reviews, and who merged it. Where no forge has one, git says it: who authored the commit by
which the record came to main, and the trailers ``Approved-by: Name <mail>`` of that commit and, after the release commit, of commits
that change nothing. Bots don't count; where the level says ``independent``, neither do those who wrote what is released.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard import git, github, history
from modelyard.console import say
from modelyard.errors import ForgeError
from modelyard.person import Person
from modelyard.project import RELEASE, Project
from modelyard.propose import BRANCH, MAIN
from modelyard.release import Release
from modelyard.risk import Risk

_FIELDS = "--format=%H%x09%P%x09%an%x09%ae%x09%(trailers:key=Approved-by,valueonly,unfold,separator=%x1f)"
_ON_THE_FORGE = "Let them approve the pull request, then run promote again."
_BY_GIT = "Let them push a commit to main, git commit --allow-empty --trailer 'Approved-by: Name <mail>', then run promote again."


def judge(risk: Risk, approvers: Iterable[Person], authors: Sequence[Person] = ()) -> tuple[list[Person], str]:
    """Those who count, each once, and what their level still lacks: one sentence, empty where it lacks nothing. No I/O.

    Parameters
    ----------
    approvers
        Who approved; one person may come more than once.
    authors
        Who wrote the training code.
    """
    demand = risk.demand
    counted: list[Person] = []
    dropped: list[Person] = []
    for person in approvers:
        if person.is_bot:
            continue
        if demand.independent and any(person.is_same(author) for author in authors):
            dropped.append(person)
        elif not any(person.is_same(other) for other in counted):
            counted.append(person)
    by = f"approved by {', '.join(map(str, counted)) or 'nobody'}"
    if dropped:
        by += f"; {', '.join(dict.fromkeys(map(str, dropped)))} wrote the training code"
    if len(counted) < demand.approvers:
        return counted, f"Risk level {risk.level} asks for {demand.words}; it is {by}."
    holders = [Person.parse(word) for word in risk.roles.get(demand.role, [])]
    if demand.role and not any(person.is_same(holder) for person in counted for holder in holders):
        whom = ", ".join(map(str, holders)) or "nobody: name somebody in modelyard.yaml"
        return counted, f"Risk level {risk.level} asks for the role {demand.role!r} (risk.roles: {whom}); it is {by}."
    return counted, ""


def check(project: Project, commit: str, record: Release) -> tuple[list[Person], str]:
    """Who approved the release that ``commit`` on main records, and what is lacking; empty where nothing is."""
    risk, root = project.policy.risk, project.root
    if not risk.demand.approvers:
        return [], ""
    git.deepen(root, MAIN)
    (merge,) = _log(root, "-1", "--first-parent", "-m", commit, "--", RELEASE.as_posix())
    code = _code(root, project.policy.package, record, merge) if risk.demand.independent else []
    forge, fix = github.forge(), _BY_GIT
    try:
        found = forge.approvers(head=BRANCH, base=MAIN, commits={merge.id, *merge.parents[1:]}) if forge else None
        if forge and found is not None:
            authors = [Person(forge.login(each.id) or _login(each.author.id), each.author.id) for each in code]
            approvers, fix = [Person("", login) for login in found], _ON_THE_FORGE
    except ForgeError as error:
        if risk.demand.approvers > 1:  # what anybody can write into a commit is no stand-in for reviews that are there
            return [], f"Risk level {risk.level} asks for {risk.demand.words}, and the forge does not say who approved: {error}"
        say(f"The forge does not say who approved, so git does. {error}")
        found = None
    if found is None:
        approvers, authors = [merge.author, *_trailers(root, merge, commit)], [each.author for each in code]
    counted, lacking = judge(risk, approvers, authors)
    return counted, f"{lacking} {fix}" if lacking else ""


@dataclass(frozen=True)
class _Commit:
    id: str
    parents: list[str]
    author: Person
    approvers: list[Person]


def _log(root: Path, *args: str) -> list[_Commit]:
    commits = []
    for line in filter(None, git.run("log", _FIELDS, *args, cwd=root).split("\n")):
        identity, parents, name, mail, trailers = line.split("\t", 4)
        people = map(Person.parse, trailers.split("\x1f"))
        commits.append(_Commit(identity, parents.split(), Person(name, mail), [person for person in people if "@" in person.id]))
    return commits


def _trailers(root: Path, merge: _Commit, commit: str) -> list[Person]:
    """Who signed the merge, or a commit without changes on the release branch, or on main since.

    A commit that changes something is signed for that: whoever reviewed it has not seen the release.
    """
    ranges = [f"{merge.id}..{commit}", *(f"{merge.parents[0]}..{parent}" for parent in merge.parents[1:])]
    empty = [each for some in ranges for each in _log(root, "--reverse", some) if each.approvers and _is_empty(root, each)]
    return [person for each in (merge, *empty) for person in each.approvers]


def _is_empty(root: Path, commit: _Commit) -> bool:
    trees = [git.run("rev-parse", f"{each}^{{tree}}", cwd=root) for each in (commit.id, *commit.parents)]
    return len(trees) == 2 and trees[0] == trees[1]


def _code(root: Path, package: str, record: Release, merge: _Commit) -> list[_Commit]:
    """The commits that changed the training code since the release before, one an author; where none did, the last that did."""
    paths = ["--", f"src/{package}", "params.yaml", "dvc.yaml"]
    before = [entry.release.code.commit for entry in history.releases(root, merge.id) if entry.release != record][:1]
    since = _log(root, f"{before[0]}..{record.code.commit}", *paths) if before and git.has(root, before[0]) else []
    found = since or _log(root, *(["-1"] if before else []), record.code.commit, *paths)
    return list({each.author.id: each for each in found if not each.author.is_bot}.values())


def _login(mail: str) -> str:
    """The login in an address that GitHub gives who hides theirs: ``1+login@users.noreply.github.com``."""
    found = re.fullmatch(r"(?:\d+\+)?(.+)@users\.noreply\.github\.com", mail)
    return found[1] if found else ""
