"""``modelyard promote``: verify what main records, build it, try it, and make it live."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import click

from modelyard import approval, champion, git, registry, release, serving, state, store
from modelyard.champion import Champion
from modelyard.console import step
from modelyard.errors import ModelyardError, ServiceError
from modelyard.outcome import Outcome
from modelyard.predictions import of_champion
from modelyard.project import RAW, RELEASE, Project, find
from modelyard.register import EVALUATION
from modelyard.release import Release
from modelyard.risk import LEVELS

#: Tag of a version that was live once; it may come back whatever main's code has become since.
WAS_LIVE = "modelyard.live"
#: Tag that says who approved it.
APPROVED = "modelyard.approved_by"


class Verified(NamedTuple):
    """What a release proved."""

    champion: Champion
    is_live: bool
    approved_by: str  # names; empty where nobody had to, or it was live before


class RefusedError(Exception):
    """A check of the release failed: which, and why."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(check, reason)
        self.check = check
        self.reason = reason


def run(project: Project, rev: str = "HEAD", dry_run: bool = False) -> Outcome:
    """Verify the record at ``rev``; build, start and ask the service; deploy; move the alias ``champion`` last.

    Running it again changes nothing. A refusal leaves the champion as it was and names the check that failed.

    Parameters
    ----------
    dry_run
        Only verify: what an auditor does with a clone.
    """
    commit = git.head(project.root, rev)
    text = git.show(project.root, commit, RELEASE.as_posix())
    if text is None:
        return Outcome(verdict="nothing released", summary=f"**promote: nothing released** at {commit[:12]}: there is no {RELEASE} yet.")
    try:
        record = release.read(text)
        with step("verify"):
            verified = verify(project, commit)
        if dry_run:
            return Outcome(
                verdict="",
                summary=f"**promote: verified** {_name(record)} at {commit[:12]}; nothing was changed.",
                outputs=_outputs(record),
            )
        if verified.is_live:
            return _live(record, commit, "it was live already; nothing changed")
        make_live(project, record, build(project, verified.champion), verified.approved_by)
    except RefusedError as refusal:
        return refused(refusal.check, refusal.reason)
    except ServiceError as error:
        return refused("smoke test", error.what)
    by = f"; approved by {verified.approved_by}" if verified.approved_by else ""
    return _live(record, commit, f"verified, built, asked, deployed{by}")


def verify(project: Project, commit: str) -> Verified:
    """All that a release must prove: the model with its verified bytes, whether it is live already, and who approved it.

    Raises
    ------
    RefusedError
        A check failed.
    """
    try:
        found = champion.load(project, commit)
    except ModelyardError as error:
        raise RefusedError("model file", error.what) from None
    if found is None:
        raise RefusedError("record", f"There is no {RELEASE} at {commit[:12]}.")
    record = found.release
    connection = registry.connect(project.root / state.FOLDER)
    version = registry.get_version(connection, record.model.name, record.model.version)
    if version is None:
        raise RefusedError("registry", f"{_name(record)} is not in the registry.")
    if version.sha256 != record.model.sha256:
        raise RefusedError(
            "registry", f"{_name(record)} in the registry is the model {version.sha256[:12]}, the record names {record.model.sha256[:12]}."
        )
    _verify_evaluation(project, record, connection)
    was_live = WAS_LIVE in version.tags
    _verify_lock(project, commit, record, was_live=was_live)
    approved_by = "" if was_live else _verify_approvals(project, commit, record)
    _verify_predictions(found)
    live = registry.get_alias(connection, record.model.name, "champion")
    return Verified(found, live is not None and live.version == version.version, approved_by)


def build(project: Project, verified: Champion) -> serving.Bento:
    """Build the Bento of a verified release, and let it answer.

    Raises
    ------
    ServiceError
        It cannot be built, does not start, or answers otherwise than recorded.
    """
    record = verified.release
    home = project.root / ".modelyard" / "bentoml"
    with step("build the Bento"):
        bento = serving.build(
            code=verified.folder,
            model=verified.model,
            package=project.policy.package,
            name=record.model.name,
            labels=labels(record),
            home=home,
        )
    with step("smoke test"):
        serving.smoke_test(bento, verified.examples, home)
    return bento


def make_live(project: Project, record: Release, bento: serving.Bento, approved_by: str = "") -> None:
    """Deploy the Bento, and move the alias; the registry notes who approved.

    Raises
    ------
    RefusedError
        The deployment failed; the alias stays where it was.
    """
    if project.policy.serving.deploy:
        with step("deploy"):
            _deploy(project, bento, record)

    def write(folder: Path | None) -> None:
        connection = registry.connect(folder)
        by = approved_by or record.approved_by  # of a release that comes back it is noted already
        tags = {WAS_LIVE: record.logical_date.isoformat(), **({APPROVED: by} if by else {})}
        registry.set_tags(connection, record.model.name, record.model.version, tags)
        registry.set_alias(connection, record.model.name, "champion", record.model.version)

    with step("alias champion"):
        if registry.is_remote():
            write(None)
        else:
            state.transact(project.root, write, f"promote {_name(record)}")


def labels(record: Release) -> dict[str, str]:
    """What a Bento, and the image of it, say of themselves."""
    return {
        "modelyard.model": record.model.name,
        "modelyard.version": record.model.version,
        "modelyard.sha256": record.model.sha256[:63],
        "modelyard.commit": record.code.commit,
    }


def refused(check: str, reason: str, verb: str = "promote") -> Outcome:
    """The champion stays; the check that failed is named."""
    return Outcome(
        verdict="refused",
        positive=False,
        summary=f"**{verb}: refused** ({check})\n\n{reason}\n\nThe champion is as it was.",
        outputs={"check": check, "reason": reason},
        problems=(f"refused ({check}): {reason}",),
    )


def _verify_evaluation(project: Project, record: Release, connection: registry.Registry) -> None:
    try:
        path = registry.download(
            connection, record.model.run_id, EVALUATION, project.root / ".modelyard" / "evaluation" / record.evaluation.sha256
        )
    except ModelyardError as error:
        raise RefusedError("evaluation", f"The run {record.model.run_id} has no evaluation: {error.what}") from None
    if release.sha256(path) != record.evaluation.sha256:
        raise RefusedError("evaluation", "The evaluation kept with the run is not the one that the record names.")
    evaluation = json.loads(path.read_text())
    if evaluation["challenger"]["sha256"] != record.model.sha256:
        raise RefusedError("evaluation", "The evaluation judged another model than the record names.")
    if evaluation["verdict"] != "promote":
        raise RefusedError("evaluation", f"The evaluation's verdict is {evaluation['verdict']}.")


def _verify_lock(project: Project, commit: str, record: Release, was_live: bool) -> None:
    lock = git.show(project.root, commit, store.LOCK.as_posix())
    if lock is None or hashlib.sha256(lock).hexdigest() != record.code.dvc_lock:
        raise RefusedError("lock", f"{store.LOCK} is not the one that the record names. Main moved: run train.")
    if was_live:
        return
    if not git.has(project.root, record.code.commit):
        git.fetch(project.root, record.code.commit)
    inputs = [*store.code_dependencies(lock, RAW), "uv.lock"]
    changed = git.run("diff", "--name-only", record.code.commit, commit, "--", *inputs, cwd=project.root).splitlines()
    if changed:
        raise RefusedError(
            "lock", f"Main moved since {record.code.commit[:12]}, where the model was trained: {', '.join(changed[:5])} changed. Run train."
        )


def _verify_approvals(project: Project, commit: str, record: Release) -> str:
    """Refuse what was judged for less risk than there is now, and what too few people approved."""
    now = project.policy.risk.level
    judged = record.risk if record.risk in LEVELS else "moderate"  # medium, in records of before
    if LEVELS.index(judged) < LEVELS.index(now):
        raise RefusedError("approvals", f"The release was judged at risk level {judged}, and modelyard.yaml says {now} now. Run train.")
    people, lacking = approval.check(project, commit, record)
    if lacking:
        raise RefusedError("approvals", lacking)
    return ", ".join(map(str, people))


def _verify_predictions(verified: Champion) -> None:
    import pandas as pd

    time = verified.project.policy.data.time
    try:
        rows, recorded = serving.read_examples(verified.examples)
        frame = pd.DataFrame(rows)
        if time in frame:
            frame[time] = pd.to_datetime(frame[time])  # JSON knows no times
        predictions = of_champion(verified, frame)
    except ModelyardError as error:
        raise RefusedError("predictions", error.what) from None
    difference = serving.largest_difference(predictions.tolist(), recorded)
    if difference > serving.TOLERANCE:
        raise RefusedError("predictions", f"The model's predictions differ from those recorded at training by up to {difference:.2g}.")


def _deploy(project: Project, bento: serving.Bento, record: Release) -> None:
    env = {
        **os.environ,
        "MODELYARD_BENTO": str(bento.path),
        "MODELYARD_BENTO_TAG": bento.tag,
        "MODELYARD_MODEL_VERSION": record.model.version,
    }
    command = project.policy.serving.deploy
    try:
        done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RefusedError("deployment", f"{command[0]} (serving.deploy in modelyard.yaml) cannot be run: {error.strerror}.") from None
    if done.returncode:
        raise RefusedError("deployment", f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")


def _name(record: Release) -> str:
    return f"{record.model.name} version {record.model.version}"


def _outputs(record: Release) -> dict[str, str]:
    return {"version": record.model.version, "model": record.model.sha256}


def _live(record: Release, commit: str, how: str) -> Outcome:
    return Outcome(verdict="live", summary=f"**promote: live** {_name(record)} ({how}), release {commit[:12]}.", outputs=_outputs(record))


@click.command("promote")
@click.option("--rev", default="HEAD", show_default=True, help="The commit whose release record is promoted.")
@click.option("--dry-run", is_flag=True, help="Only verify; change nothing.")
def command(rev: str, dry_run: bool) -> Outcome:
    """Verify the merged release and make it live.

    Checks, in this order: the model file that DVC delivers is the recorded one; the version is in the registry; the evaluation belongs to
    the model and says promote; dvc.lock and the code that the model was trained from are main's; the people whom the risk level asks for
    have approved; the predictions are those recorded at training. Then the Bento is built, started and asked, the deployment command
    runs, and the alias champion moves last.
    """
    return run(find(), rev, dry_run)
