"""Who approved a release, and whether these people are enough for its risk level.

The forge's pull request says it best: its reviews, and who merged it. Where no forge has one, git says it: who authored the commit by
which the record came to main, and the trailers ``Approved-by: Name <mail>`` of that commit and, after the release commit, of commits
that change nothing. Bots don't count; where the level says ``independent``, neither do those who wrote what is released.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelyard import git, github, history
from modelyard.console import say
from modelyard.errors import ForgeError
from modelyard.history import Commit
from modelyard.person import Approval, Person, once
from modelyard.project import RELEASE, Project
from modelyard.propose import BRANCH, MAIN
from modelyard.release import Release
from modelyard.risk import Risk

_ON_THE_FORGE = "Let them approve the pull request, then run promote again."
_BY_GIT = "Let them push a commit to main, git commit --allow-empty --trailer 'Approved-by: Name <mail>', then run promote again."


def judge(risk: Risk, approvals: Iterable[Approval], authors: Sequence[Person] = ()) -> tuple[list[Approval], str]:
    """Those that count, one a person, and what their level still lacks: one sentence, empty where it lacks nothing. No I/O.

    Parameters
    ----------
    approvals
        One person may come more than once.
    authors
        Who wrote the training code.
    """
    demand = risk.demand
    people = once(approvals, risk.roles)
    dropped = [each for each in people if demand.independent and any(each.person.is_same(author) for author in authors)]
    counted = [each for each in people if each not in dropped]
    by = f"approved by {_names(counted) or 'nobody'}"
    if dropped:
        by += f"; {_names(dropped)} wrote the training code"
    if len(counted) < demand.approvers:
        return counted, f"Risk level {risk.level} asks for {demand.words}; it is {by}."
    if demand.role and not any(demand.role in each.roles for each in counted):
        holders = map(Person.parse, risk.roles.get(demand.role, []))
        whom = ", ".join(map(str, holders)) or "nobody: name somebody in modelyard.yaml"
        return counted, f"Risk level {risk.level} asks for the role {demand.role!r} (risk.roles: {whom}); it is {by}."
    return counted, ""


def check(project: Project, commit: str, record: Release) -> tuple[list[Approval], str]:
    """Who approved the release that ``commit`` on main records, and what is lacking; empty where nothing is."""
    risk, root = project.policy.risk, project.root
    if not risk.demand.approvers:
        return [], ""
    git.deepen(root, MAIN)
    (merge,) = history.commits(root, "-1", "--first-parent", "-m", commit, "--", RELEASE.as_posix())
    code = _code(root, project.policy.package, record, merge) if risk.demand.independent else []
    forge, fix = github.forge(), _BY_GIT
    try:
        found = forge.approvals(head=BRANCH, base=MAIN, commits={merge.id, *merge.parents[1:]}) if forge else None
        if forge and found is not None:
            authors = [Person(forge.login(each.id) or _login(each.author.id), each.author.id) for each in code]
            approvals, fix = found, _ON_THE_FORGE
    except ForgeError as error:
        if risk.demand.approvers > 1:  # what anybody can write into a commit is no stand-in for reviews that are there
            return [], f"Risk level {risk.level} asks for {risk.demand.words}, and the forge does not say who approved: {error}"
        say(f"The forge does not say who approved, so git does. {error}")
        found = None
    if found is None:
        approvals = [Approval(merge.author, "commit", merge.date), *history.signatures(root, merge.id, commit)]
        authors = [each.author for each in code]
    counted, lacking = judge(risk, approvals, authors)
    return counted, f"{lacking} {fix}" if lacking else ""


def _names(approvals: Iterable[Approval]) -> str:
    return ", ".join(str(each.person) for each in approvals)


def _code(root: Path, package: str, record: Release, merge: Commit) -> list[Commit]:
    """The commits that changed the training code since the release before, one an author; where none did, the last that did."""
    paths = ["--", f"src/{package}", "params.yaml", "dvc.yaml"]
    before = [entry.release.code.commit for entry in history.releases(root, merge.id) if entry.release != record][:1]
    since = history.commits(root, f"{before[0]}..{record.code.commit}", *paths) if before and git.has(root, before[0]) else []
    found = since or history.commits(root, *(["-1"] if before else []), record.code.commit, *paths)
    return list({each.author.id: each for each in found if not each.author.is_bot}.values())


def _login(mail: str) -> str:
    """The login in an address that GitHub gives who hides theirs: ``1+login@users.noreply.github.com``."""
    found = re.fullmatch(r"(?:\d+\+)?(.+)@users\.noreply\.github\.com", mail)
    return found[1] if found else ""
