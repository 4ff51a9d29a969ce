"""``modelyard propose``: a model release is a pull request."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from modelyard import card, clock, git, github, jsonfile, release, store
from modelyard.console import say
from modelyard.errors import ForgeError, GitError, ProjectError
from modelyard.evaluate import report as evaluate
from modelyard.outcome import Outcome
from modelyard.project import CARD, MODEL, RAW, RELEASE, REPORTS, Project, find
from modelyard.register import EVALUATION, REPORT, Registered
from modelyard.release import Batch, Code, Evaluation, Model, Release, sha256
from modelyard.risk import Risk

#: The one release branch; always rebuilt from the current main.
BRANCH = "modelyard/release"
MAIN = "main"


def run(project: Project, now: datetime) -> Outcome:
    """Push the release branch and open, or update, its pull request; where the risk level asks for nobody, bring it to main.

    Outputs: ``branch``, ``commit``, ``pull`` (its address, empty without a forge), ``merged`` (true where it is on main).
    """
    root = project.root
    git.origin(root)
    git.fetch(root, f"+refs/heads/{MAIN}:refs/remotes/origin/{MAIN}")
    git.deepen(root, MAIN)  # the card tells of earlier releases
    parent = git.head(root, f"refs/remotes/origin/{MAIN}")
    record, evaluation = _record(project, now, parent)
    title = f"Release {record.model.name} {record.model.version}"

    def push(record: Release) -> tuple[str, dict[str, bytes | None]]:
        files = _files(project, record, evaluation, parent)
        commit = git.commit_files(root, parent, files, f"{title}\n\n{_sentence(record)}\n")
        return push_branch(project, commit), files

    merged = False
    if not project.policy.risk.demand.approvers:
        commit, files = push(record.model_copy(update={"approved_by": f"policy: risk {record.risk}"}))
        merged = _fast_forward(project, commit)
    if not merged:  # a person approves, and git log names who
        commit, files = push(record)
    pull = "" if merged else open_pull(BRANCH, title, body(record, evaluation, _changed_periods(files), project.policy.risk))
    where = f"merged to {MAIN}" if merged else pull or f"branch `{BRANCH}`, {commit[:12]}: merge it to approve"
    return Outcome(
        verdict="",
        summary=f"**propose: {title}** ({where})\n\n{_sentence(record)}",
        outputs={"branch": BRANCH, "commit": commit, "pull": pull, "merged": str(merged).lower()},
    )


def push_branch(project: Project, commit: str) -> str:
    """Move the release branch to ``commit``; the commit that it names then.

    It stays where its own commit says the same: pushing anew would dismiss approvals that people have given.

    Raises
    ------
    PushRaceError
        Another run moved it meanwhile.
    """
    root = project.root
    there = git.run("ls-remote", "origin", f"refs/heads/{BRANCH}", cwd=root).partition("\t")[0]
    if there:
        git.fetch(root, f"+refs/heads/{BRANCH}:refs/remotes/origin/{BRANCH}")
        content = "--format=%T %P"  # the tree, and what it stands on
        if git.run("show", "-s", content, there, cwd=root) == git.run("show", "-s", content, commit, cwd=root):
            return there
    git.push(f"--force-with-lease=refs/heads/{BRANCH}:{there}", "origin", f"{commit}:refs/heads/{BRANCH}", cwd=root)
    return commit


def open_pull(branch: str, title: str, text: str) -> str:
    """The address of a branch's pull request; empty where there is no forge, or it refused, and says so (the branch is there then)."""
    forge = github.forge()
    if forge is None:
        say(f"No forge here: it would open the pull request {title!r} from {branch} into {MAIN}.")
        return ""
    try:
        return forge.open_or_update_pull(head=branch, base=MAIN, title=title, body=text)
    except ForgeError as error:
        github.annotate("error", str(error))
        say(f"The pull request was not opened. {error}")
        return ""


def body(record: Release, evaluation: dict[str, Any], periods: list[str], risk: Risk) -> str:
    """The pull request's text: verdict, metrics, data changes, links, who must approve."""
    lines = [f"**{record.evaluation.verdict}**: {_sentence(record)}", "", card.metrics_table(evaluation), ""]
    lines += [f"- {reason}" for reason in evaluation.get("reasons", [])]
    lines += [
        "",
        f"New data: {', '.join(periods) or 'none'}.",
        f"Trained from {record.code.commit[:12]} at logical date {record.logical_date:%Y-%m-%d}.",
    ]
    if url := github.run_url():
        lines.append(f"[Workflow run]({url}) with all reports.")
    lines += [
        "",
        f"Risk level {record.risk}: approval by {risk.demand.words}. Merging approves, as a review does; `promote` then verifies the "
        "release and makes it live. `modelyard rollback` brings the former model back.",
    ]
    return "\n".join(lines)


def _code_commit(root: Path, parent: str) -> str:
    """The commit that holds the code of this training, and that others can fetch."""
    inputs = [*store.code_dependencies((root / store.LOCK).read_bytes(), RAW), "uv.lock"]
    changed = git.run("status", "--porcelain", "--no-renames", "--untracked-files=all", "--", *inputs, cwd=root).splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5])  # after two letters of status
        raise ProjectError(f"The model was trained with changes that are not committed: {names}.", "Commit and push them, then train.")
    if git.attempt("diff", "--quiet", "HEAD", parent, "--", *inputs, cwd=root).returncode == 0:
        return parent
    raise ProjectError(f"The code here is not that of origin's {MAIN}.", f"Push it to {MAIN}, or pull what is new there, and train again.")


def _record(project: Project, now: datetime, parent: str) -> tuple[Release, dict[str, Any]]:
    root = project.root
    for path in (MODEL, store.LOCK):
        if not (root / path).exists():
            raise ProjectError(f"{path} is missing.", "Run `modelyard train` first.")
    judged = jsonfile.read(root / REPORTS / EVALUATION, evaluate.Evaluation, "Run `modelyard evaluate` first.")
    entry = jsonfile.read(root / REPORTS / REPORT, Registered, "Run `modelyard register` first.")
    if judged.verdict != "promote" or not entry.version:
        raise ProjectError(f"The verdict is {judged.verdict}: there is nothing to propose.")
    digest = sha256(root / MODEL)
    if entry.sha256 != digest or entry.evaluation != sha256(root / REPORTS / EVALUATION):
        raise ProjectError("The model or its evaluation changed since they were registered.", "Run `modelyard register` again.")
    uv_lock = root / "uv.lock"
    metric = judged.metric
    record = Release(
        model=Model(name=project.policy.name, version=entry.version, run_id=entry.run_id, path=MODEL.as_posix(), sha256=digest),
        evaluation=Evaluation(
            sha256=entry.evaluation,
            verdict="promote",
            metric=metric,
            challenger=judged.challenger.metrics[metric],
            champion=judged.champion.metrics[metric] if judged.champion else None,
            lower=judged.comparison.lower if judged.comparison and judged.champion else None,
            superior=judged.superior,
            holdout=judged.holdout,
        ),
        data=[Batch(path=path, md5=md5) for path, md5 in store.data_pointers(root, RAW).items()],
        code=Code(
            commit=_code_commit(root, parent), dvc_lock=sha256(root / store.LOCK), uv_lock=sha256(uv_lock) if uv_lock.exists() else None
        ),
        logical_date=now,
        trigger=os.environ.get("GITHUB_EVENT_NAME", "local"),
        risk=project.policy.risk.level,
    )
    return record, judged.model_dump(mode="json")


def _files(project: Project, record: Release, evaluation: dict[str, Any], parent: str) -> dict[str, bytes | None]:
    """Exactly what a release changes: data pointers, pipeline lock, record, card."""
    root = project.root
    pointers = [path.relative_to(root) for path in (root / RAW).glob("*.dvc")]
    files: dict[str, bytes | None] = {path.as_posix(): (root / path).read_bytes() for path in [*sorted(pointers), store.LOCK]}
    gone = {path for path in git.ls(root, parent, RAW.as_posix()) if path.endswith(".dvc")} - set(files)
    files |= dict.fromkeys(sorted(gone), None)
    files = {path: data for path, data in files.items() if data is None or git.show(root, parent, path) != data}
    files[RELEASE.as_posix()] = release.write(record).encode()
    files[CARD.as_posix()] = card.render(record, evaluation, project.policy, card.around(project, parent)).encode()
    return files


def _fast_forward(project: Project, commit: str) -> bool:
    try:
        git.push("origin", f"{commit}:refs/heads/{MAIN}", cwd=project.root)
    except GitError as error:
        say(f"{MAIN} was not moved, the pull request stays open: {error.what}")
        return False
    return True


def _sentence(record: Release) -> str:
    judged = record.evaluation
    against = (
        "the first release"
        if judged.champion is None
        else f"champion {judged.champion:.4f}, lower bound of the improvement {judged.lower:+.4f}"
    )
    return f"{judged.metric} {judged.challenger:.4f} on {judged.holdout[0]:%Y-%m-%d} to {judged.holdout[1]:%Y-%m-%d} ({against})."


def _changed_periods(files: dict[str, bytes | None]) -> list[str]:
    return [path.split("/")[-1].removesuffix(".parquet.dvc") for path, data in files.items() if path.endswith(".dvc") and data is not None]


@click.command("propose")
@clock.now_option
def command(now: datetime) -> Outcome:
    """Open or update the release pull request.

    The branch modelyard/release is rebuilt from origin/main and changes exactly the data pointers, dvc.lock, the release record and the
    model card. Where the risk level asks for nobody's approval (low), the workflow merges it itself.
    """
    return run(find(), now)
