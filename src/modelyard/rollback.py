"""``modelyard rollback``: an earlier release comes back by a new commit, through the checks of ``promote``."""

from __future__ import annotations

import os

import click

from modelyard import deployment, git, history, promote, propose, store
from modelyard.console import say, step
from modelyard.errors import GitError, ServiceError, UsageError
from modelyard.history import Entry
from modelyard.outcome import Outcome
from modelyard.project import CARD, RAW, RELEASE, Project, find
from modelyard.promote import RefusedError

PREVIOUS = "previous"


def run(project: Project, to: str = PREVIOUS, reason: str = "") -> Outcome:
    """Restore the files of an earlier release in a new commit on main, verified, built and asked before main moves.

    Where main may not be pushed to, the commit becomes the release pull request.

    Parameters
    ----------
    to
        ``previous``, a model version, or the start of a release commit. A version that was rolled back can come back the same way.
    reason
        Stands in the commit message.
    """
    root = project.root
    git.origin(root)
    git.fetch(root, f"+refs/heads/{propose.MAIN}:refs/remotes/origin/{propose.MAIN}")
    main = git.head(root, f"refs/remotes/origin/{propose.MAIN}")
    past = history.releases(root, main)
    target = _choose(past, to)
    current = past[0].release.model
    title = f"Roll back {current.name} from version {current.version} to {target.release.model.version}"
    message = f"{title}\n\n{reason or 'No reason given.'}\n"
    # Who asked for it is who answers for it in the audit record.
    commit = git.commit_files(root, main, _files(project, main, target.commit), message, author=os.environ.get("GITHUB_ACTOR", ""))
    try:
        with step("verify"):
            verified = promote.verify(project, commit)
        bento = promote.build(project, verified.champion)
        images = promote.publish(project, verified, bento)
        if images:  # main names release and images at once
            files = _files(project, main, target.commit) | deployment.changes(root, main, target.release, images)
            commit = git.commit_files(root, main, files, message, author=os.environ.get("GITHUB_ACTOR", ""))
        pushed = _push(project, commit, title, reason)
    except RefusedError as refusal:
        return promote.refused(refusal.check, refusal.reason, "rollback")
    except ServiceError as error:
        return promote.refused("smoke test", error.what, "rollback")
    if pushed:
        try:
            promote.make_live(project, target.release, bento, verified.approved_by, images)
        except RefusedError as refusal:
            ahead = f"{propose.MAIN} names version {target.release.model.version} already: run promote when the cause is mended."
            return promote.refused(refusal.check, f"{refusal.reason}\n\n{ahead}", "rollback")
    outputs = {"version": target.release.model.version, "commit": commit, "merged": str(pushed).lower()}
    if not pushed:
        return Outcome(verdict="proposed", summary=f"**rollback: proposed** {title}: merge {propose.BRANCH} to approve.", outputs=outputs)
    return Outcome(verdict="live", summary=f"**rollback: live** {title}, commit {commit[:12]}.", outputs=outputs)


def _choose(past: list[Entry], to: str) -> Entry:
    if not past:
        raise UsageError("Nothing was released yet.", "Run train, and merge its release.")
    current = past[0].release.model.version
    if to == PREVIOUS:
        found = next((entry for entry in past if entry.release.model.version != current), None)
        if found is None:
            raise UsageError(
                f"Version {current} is the only release: there is none before it.",
                "A shallow clone shows only the last: git fetch --unshallow",
            )
        return found
    found = next((entry for entry in past if to == entry.release.model.version or (len(to) >= 7 and entry.commit.startswith(to))), None)
    if found is None:
        known = ", ".join(dict.fromkeys(entry.release.model.version for entry in past))
        raise UsageError(f"There is no release {to!r}.", f"Released versions are {known}; `modelyard report` lists them.")
    if found.release.model.version == current:
        raise UsageError(f"Version {current} is what main records already.")
    return found


def _files(project: Project, main: str, commit: str) -> dict[str, bytes | None]:
    def kept(rev: str) -> set[str]:
        pointers = {path for path in git.ls(project.root, rev, RAW.as_posix()) if path.endswith(".dvc")}
        return pointers | {store.LOCK.as_posix(), RELEASE.as_posix(), CARD.as_posix()}

    return {path: git.show(project.root, commit, path) for path in sorted(kept(main) | kept(commit))}


def _push(project: Project, commit: str, title: str, reason: str) -> bool:
    try:
        git.push("origin", f"{commit}:refs/heads/{propose.MAIN}", cwd=project.root)
        return True
    except GitError as error:
        say(f"{propose.MAIN} was not moved: {error.what}")
    propose.push_branch(project, commit)
    propose.open_pull(propose.BRANCH, title, f"{title}.\n\n{reason or 'No reason given.'}\n\nMerging makes the earlier model live again.")
    return False


@click.command("rollback")
@click.option("--to", default=PREVIOUS, show_default=True, help="previous, a model version, or the start of a release commit.")
@click.option("--reason", default="", help="Why; stands in the commit message.")
def command(to: str, reason: str) -> Outcome:
    """Put an earlier release back.

    A new commit on main restores the earlier record, its data pointers and dvc.lock; the service is built from the commit that the record
    names. The checks are those of promote.
    """
    return run(find(), to, reason)
