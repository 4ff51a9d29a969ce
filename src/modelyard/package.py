"""``modelyard package``: the Bento and the images of a model, tried before anybody is asked to approve it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import click

from modelyard import champion, clock, git, history, image, jsonfile, serving, store
from modelyard.console import step
from modelyard.errors import ProjectError, UsageError
from modelyard.image import Builder, Image
from modelyard.outcome import Outcome
from modelyard.project import EXAMPLES, MODEL, REPORTS, Project, find
from modelyard.register import REPORT, Registered
from modelyard.release import sha256
from modelyard.serve.contract import FILE
from modelyard.serving import Lineage, Source

#: Where Bentos are built; not the user's own store.
HOME = Path(".modelyard/bentoml")


def run(project: Project, now: datetime | None = None, live: bool = False) -> Outcome:
    """Build the Bento and, where something here can, its images; start each and compare its answers with the recorded ones.

    Writes ``reports/package.json`` (tag, requirements, smoke test, images) and a bill of materials of each image.

    Parameters
    ----------
    now
        The logical date, which is the images' time of creation; default: the real clock. A release brings its own.
    live
        The champion that main records, not the model just trained.
    """
    source = _released(project) if live else _trained(project, now or datetime.now(UTC))
    builder = find_builder(project)
    with step("build the Bento"):
        bento = serving.build(project, source, project.root / HOME, before(project, source))
    if not live:  # so that `bentoml serve` works in the project, too
        shutil.copyfile(bento.path / "src" / MODEL.parent / FILE, project.root / MODEL.parent / FILE)
    with step("smoke test"):
        smoke = serving.smoke_test(bento, source.examples, project.root / HOME)
    images = image.trial(project, source, bento, builder) if builder else []
    excess = image.excess(images, project.policy.serving.image)
    report = {
        "bento": bento.tag,
        "requirements": serving.requirements(source.code),
        "smoke_test": smoke,
        "builder": builder.name if builder else None,
        "images": [dataclasses.asdict(each) for each in images],
        "excess": excess,
    }
    project.report("package.json").write_text(json.dumps(report, indent=2) + "\n")
    verdict = "block" if excess else "packaged"
    lines = [
        f"**package: {verdict}** {bento.tag}",
        "",
        *excess,
        *([""] if excess else []),
        f"The service gave the {smoke['rows']} recorded predictions again (largest difference {smoke['difference']:.2g}).",
        _sentence(images, builder) if builder else _none(project),
    ]
    outputs = {"bento": bento.tag, "images": " ".join(each.reference for each in images)}
    return Outcome(verdict=verdict, summary="\n".join(lines), positive=not excess, outputs=outputs, problems=tuple(excess))


def find_builder(project: Project) -> Builder | None:
    """What builds the images that the policy asks for; None where it asks for none, or nothing here can.

    Raises
    ------
    UsageError
        Nothing here can, and the policy names a registry to push them to.
    """
    wanted = project.policy.serving.image
    builder = image.find() if wanted.variants else None
    if wanted.variants and wanted.registry and builder is None:
        raise UsageError(
            f"serving.image.registry is {wanted.registry}, and nothing here builds images: neither docker, podman nor buildah works.",
            "Install one of them, or leave the registry empty: then only the Bento is built.",
        )
    return builder


def before(project: Project, source: Source, rev: str = "HEAD") -> Source | None:
    """The release before, where the policy lets it answer when the model fails."""
    if project.policy.serving.fallback.by != "previous":
        return None
    for entry in history.releases(project.root, rev):
        if entry.release.model.sha256 != source.lineage.sha256:
            found = champion.load(project, entry.commit)
            return serving.released(found) if found else None
    return None


def _trained(project: Project, now: datetime) -> Source:
    root = project.root
    for path in (MODEL, EXAMPLES):
        if not (root / path).exists():
            raise ProjectError(f"{path} is missing.", "Run `modelyard train` first.")
        if not store.is_delivered(root, path):
            raise ProjectError(f"{path} is not the one that {store.LOCK} names.", "Run `modelyard train`: it makes it anew.")
    digest = sha256(root / MODEL)
    known = root / REPORTS / REPORT
    entry = jsonfile.read(known, Registered, "Run `modelyard register` again.") if known.exists() else None
    is_registered = entry is not None and entry.sha256 == digest
    lineage = Lineage(
        name=project.policy.name,
        sha256=digest,
        commit=git.head(root),
        created=now,
        version=entry.version if entry and is_registered else "",
        run_id=entry.run_id if entry and is_registered else "",
        data_revision=sha256(root / store.LOCK),
    )
    return Source(root, root / MODEL, root / EXAMPLES, lineage)


def _released(project: Project) -> Source:
    found = champion.load(project)
    if found is None:
        raise UsageError("Nothing was released yet.", "Leave --champion away: then the model just trained is packaged.")
    return serving.released(found)


def _sentence(images: list[Image], builder: Builder) -> str:
    said = []
    for each in images:
        beyond = "" if each.beyond_base_mb is None else f", {each.beyond_base_mb:.0f} MB of them beyond the base"
        said.append(f"{each.variant}: {each.size_mb:.0f} MB{beyond}, {each.packages} packages, built in {each.seconds:.0f} s")
    return f"Images by {builder.name}, which answered the same: {'; '.join(said)}."


def _none(project: Project) -> str:
    wanted = project.policy.serving.image
    if not wanted.variants:
        return "No image was built: serving.image.variants names none."
    held = [name for name in ("size_mb", "build_seconds") if getattr(wanted, name) is not None]
    unheld = f" serving.image.{' and '.join(held)} is not checked." if held else ""
    return f"No image was built: no docker, podman or buildah works here, or {image.VARIABLE} is none.{unheld}"


@click.command("package")
@clock.now_option
@click.option("--champion", "live", is_flag=True, help="Package what main records, not the model just trained.")
def command(now: datetime, live: bool) -> Outcome:
    """Build the Bento of the model just trained and its images, start each, and compare its answers with those recorded at training.

    Images are built by docker, podman or buildah, whichever works here; where none does, there is the Bento only. They are not pushed:
    promote does that. An image that is larger, or took longer, than the policy allows blocks the release.
    """
    return run(find(), now, live)
