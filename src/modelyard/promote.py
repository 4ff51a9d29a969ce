"""``modelyard promote``: verify what main records, build it, try it, and make it live."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

from modelyard import approval, champion, deployment, git, image, loadtest, package, registry, release, serving, state, store
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
#: Tags that name its images, by digest: of each variant one.
IMAGE = "modelyard.image."


class Verified(NamedTuple):
    """What a release proved."""

    champion: Champion
    is_live: bool
    approved_by: str  # names; empty where nobody had to, or it was live before
    images: dict[str, str] = {}  # noqa: RUF012 - variant -> where it was pushed, when it was live before


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
        images = verified.images
        how = "it was live already; nothing changed"
        if not verified.is_live:
            bento = build(project, verified.champion)
            _verify_level(project, verified.champion, bento)
            images = publish(project, verified, bento)
            make_live(project, record, bento, verified.approved_by, images)
            how = "verified, built, asked, deployed" + (f"; approved by {verified.approved_by}" if verified.approved_by else "")
    except RefusedError as refusal:
        return refused(refusal.check, refusal.reason)
    except ServiceError as error:
        return refused("smoke test", error.what)
    where = deploy(project, record, images)
    summary = f"**promote: live** {_name(record)} ({how}), release {commit[:12]}." + (f"\n\n{where}" if where else "")
    return Outcome(verdict="live", summary=summary, outputs=_outputs(record, {} if verified.is_live else images))


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
    images = {name.removeprefix(IMAGE): value for name, value in version.tags.items() if name.startswith(IMAGE)}
    return Verified(found, live is not None and live.version == version.version, approved_by, images)


def build(project: Project, verified: Champion) -> serving.Bento:
    """Build the Bento of a verified release, and let it answer.

    Raises
    ------
    ServiceError
        It cannot be built, does not start, or answers otherwise than recorded.
    """
    home = project.root / package.HOME
    source = serving.released(verified)
    with step("build the Bento"):
        bento = serving.build(project, source, home, package.before(project, source))
    with step("smoke test"):
        serving.smoke_test(bento, verified.examples, home)
    return bento


def publish(project: Project, verified: Verified, bento: serving.Bento) -> dict[str, str]:
    """Build the images from the verified bytes, try them, and push them; those of a release that was live before are there.

    Returns
    -------
    dict
        Variant -> ``registry/name@sha256:...``; empty where the policy names no registry.

    Raises
    ------
    RefusedError
        One of them cannot be built or pushed, or answers otherwise than recorded: nothing is live yet.
    """
    wanted = project.policy.serving.image
    if not wanted.registry or set(verified.images) >= set(wanted.variants):
        return verified.images
    try:
        builder = package.find_builder(project)
        if builder is None:
            return {}
        images = image.trial(project, serving.released(verified.champion), bento, builder)
        version = verified.champion.release.model.version
        return {each.variant: image.push(each, builder, wanted.registry, version) for each in images}
    except ModelyardError as error:
        raise RefusedError("image", error.what) from None


def deploy(project: Project, record: Release, images: Mapping[str, str]) -> str:
    """Write the images into ``deploy/`` on main, which clusters follow; words for the summary, empty where there is no image.

    After the alias: who approved is told by the commit that brought the record, and a run that is killed before this is completed by the
    next. Where main is protected, a pull request asks for it.
    """
    if not images:
        return ""
    pushed = "\n".join(f"- {variant}: `{name}`" for variant, name in sorted(images.items()))
    return f"{pushed}\n\nDeployment: {deployment.commit(project.root, record, images).words}."


def make_live(
    project: Project, record: Release, bento: serving.Bento, approved_by: str = "", images: Mapping[str, str] | None = None
) -> None:
    """Deploy the Bento, and move the alias; the registry notes who approved, and which images there are.

    Raises
    ------
    RefusedError
        The deployment failed; the alias stays where it was.
    """
    if project.policy.serving.deploy:
        with step("deploy"):
            _deploy(project, bento, record, images or {})

    def write(folder: Path | None) -> None:
        connection = registry.connect(folder)
        by = approved_by or record.approved_by  # of a release that comes back it is noted already
        tags = {WAS_LIVE: record.logical_date.isoformat(), **({APPROVED: by} if by else {})}
        tags |= {f"{IMAGE}{variant}": name for variant, name in (images or {}).items()}
        registry.set_tags(connection, record.model.name, record.model.version, tags)
        registry.set_alias(connection, record.model.name, "champion", record.model.version)

    with step("alias champion"):
        if registry.is_remote():
            write(None)
        else:
            state.transact(project.root, write, f"promote {_name(record)}")


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


def _verify_level(project: Project, verified: Champion, bento: serving.Bento) -> None:
    """A short load test: the runner's packages or the policy may have changed since the release was proposed."""
    with step("load"):
        missed = loadtest.smoke(project.root, project.policy.serving.level, verified.examples, bento)
    if missed:
        raise RefusedError("service level", missed)


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


def _deploy(project: Project, bento: serving.Bento, record: Release, images: Mapping[str, str]) -> None:
    env = {
        **os.environ,
        "MODELYARD_BENTO": str(bento.path),
        "MODELYARD_BENTO_TAG": bento.tag,
        "MODELYARD_MODEL_VERSION": record.model.version,
        **{f"MODELYARD_IMAGE_{variant.upper()}": name for variant, name in images.items()},
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


def _outputs(record: Release, images: Mapping[str, str] | None = None) -> dict[str, str]:
    names = {variant: name.partition("@") for variant, name in (images or {}).items()}
    return {
        "version": record.model.version,
        "model": record.model.sha256,
        "image": next((name for name, _, _ in names.values()), ""),
        "cpu-digest": names["cpu"][2] if "cpu" in names else "",
        "gpu-digest": names["gpu"][2] if "gpu" in names else "",
    }


@click.command("promote")
@click.option("--rev", default="HEAD", show_default=True, help="The commit whose release record is promoted.")
@click.option("--dry-run", is_flag=True, help="Only verify; change nothing.")
def command(rev: str, dry_run: bool) -> Outcome:
    """Verify the merged release and make it live.

    Checks, in this order: the model file that DVC delivers is the recorded one; the version is in the registry; the evaluation belongs to
    the model and says promote; dvc.lock and the code that the model was trained from are main's; the people whom the risk level asks for
    have approved; the predictions are those recorded at training. Then the Bento is built, started and asked; where the policy names a
    registry, so are the images, which are pushed there; the deployment command runs, and the alias champion moves. At last deploy/ on main
    names the images by digest; where main is protected, a pull request asks for that.
    """
    return run(find(), rev, dry_run)
