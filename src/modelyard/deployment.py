"""What clusters run: a release's images, by digest, in small files on main that a controller applies (GitOps).

``promote`` calls :func:`commit` once the images are pushed, since a digest exists only then: one commit on main, or a pull request where
main is protected. The release record stays as it was approved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from modelyard import git, github, release
from modelyard.console import say
from modelyard.errors import GitError, PolicyError, PushRaceError, ServiceError
from modelyard.project import RELEASE
from modelyard.propose import MAIN, open_pull
from modelyard.release import Release

#: The kustomize component that all overlays include.
KUBERNETES = Path("deploy/kubernetes/release/kustomization.yaml")
#: Variables of the compose file beside it.
COMPOSE = Path("deploy/.env")
#: Branch of the pull request where main is protected.
BRANCH = "modelyard/deployment"

#: A file that is there where the project deploys this way: what a team has deleted does not come back.
_MARKS = {KUBERNETES: KUBERNETES, COMPOSE: Path("deploy/compose.yaml")}
#: Stands in the manifests for an image of each variant; the domain .invalid exists nowhere.
_PLACEHOLDER = "released.invalid/"
_HASH = "MODELYARD_SHA256"
_IMAGE = re.compile(r"(?P<name>[a-z0-9](?:[a-z0-9._/-]|:[0-9]+/)*)(?::\w[\w.-]{0,127})?@(?P<digest>sha256:[0-9a-f]{64})")
_HEADER = (
    "# Written by `modelyard promote`: the release that is deployed. Don't edit it; `modelyard rollback` brings an earlier one back.\n"
)
_TRIES = 3  # pushes of others in between


class Committed(NamedTuple):
    """Where main, and so the cluster, stands."""

    commit: str  # on main or on the branch; empty where nothing changed
    pull: str  # address of the pull request; empty without one
    merged: bool  # main names the images
    words: str  # for the summary


def files(record: Release, images: Mapping[str, str]) -> dict[Path, str]:
    """The files that deploy a release: the same texts for the same release.

    Parameters
    ----------
    images
        Variant (cpu, gpu) -> where it was pushed, ``registry/name@sha256:...``.

    Raises
    ------
    ServiceError
        There is no image, or one without digest: a tag can be moved.
    """
    if not images:
        raise ServiceError(f"{record.model.name} version {record.model.version} has no image.", "Push one, then deploy it.")
    found = {variant: _parse(images[variant]) for variant in sorted(images)}
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": f"{_PLACEHOLDER}{variant}", "newName": name, "digest": digest} for variant, (name, digest) in found.items()],
        "labels": [{"pairs": {"app.kubernetes.io/version": record.model.version}, "includeTemplates": True}],
        "configMapGenerator": [
            {
                "name": "modelyard-release",
                "literals": [f"{_HASH}={record.model.sha256}"],
                "options": {
                    "immutable": True,
                    "annotations": {"modelyard.model": record.model.name, "modelyard.commit": record.code.commit},
                },
            }
        ],
    }
    variables = {f"MODELYARD_IMAGE_{variant.upper()}": f"{name}@{digest}" for variant, (name, digest) in found.items()}
    variables |= {_HASH: record.model.sha256, "MODELYARD_VERSION": record.model.version}
    return {
        KUBERNETES: _HEADER + yaml.safe_dump(component, sort_keys=False),
        COMPOSE: _HEADER + "".join(f"{name}={value}\n" for name, value in variables.items()),
    }


def changes(root: Path, rev: str, record: Release, images: Mapping[str, str]) -> dict[str, bytes | None]:
    """What of the files differs at a commit, for :func:`modelyard.git.commit_files`; a way to deploy that the project lacks is left out.

    Raises
    ------
    ServiceError
        As of :func:`files`.
    """
    return {
        path.as_posix(): text.encode()
        for path, text in files(record, images).items()
        if git.show(root, rev, _MARKS[path].as_posix()) is not None and git.show(root, rev, path.as_posix()) != text.encode()
    }


def deployed(root: Path, rev: str, record: Release) -> dict[str, str]:
    """Variant -> image of a release, as a commit names them; empty where it deploys another release, or none."""
    text = git.show(root, rev, KUBERNETES.as_posix())
    try:
        found = yaml.safe_load(text or b"") or {}
        literals = [line for part in found.get("configMapGenerator", []) for line in part.get("literals", [])]
        if f"{_HASH}={record.model.sha256}" not in literals:
            return {}
        images = {each["name"].removeprefix(_PLACEHOLDER): f"{each['newName']}@{each['digest']}" for each in found.get("images", [])}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):  # somebody's own file in its place
        return {}
    return images


def commit(root: Path, record: Release, images: Mapping[str, str]) -> Committed:
    """Bring the files to origin's main; where that is protected, to a pull request. A second time it changes nothing.

    Raises
    ------
    ServiceError
        As of :func:`files`.
    PushRaceError
        Others pushed to main time and again.
    """
    title = f"Deploy {record.model.name} {record.model.version}"
    text = "\n".join(f"{variant}: {images[variant]}" for variant in sorted(images))
    for _ in range(_TRIES):
        git.fetch(root, f"+refs/heads/{MAIN}:refs/remotes/origin/{MAIN}")
        main = git.head(root, f"refs/remotes/origin/{MAIN}")
        if not _records(root, main, record):
            return Committed("", "", merged=False, words=f"{MAIN} records another release by now, which is deployed in its stead")
        changed = changes(root, main, record, images)
        if not changed:
            return Committed("", "", merged=True, words=f"deploy/ on {MAIN} is up to date")
        made = git.commit_files(root, main, changed, f"{title}\n\n{text}\n")
        try:
            git.push("origin", f"{made}:refs/heads/{MAIN}", cwd=root)
        except PushRaceError:  # on top of theirs
            continue
        except GitError as error:
            say(f"{MAIN} was not moved, so a pull request asks for it: {error.what}")
            git.push("--force", "origin", f"{made}:refs/heads/{BRANCH}", cwd=root)  # always rebuilt from main: nothing on it is lost
            said = f"Clusters follow {MAIN}: merging deploys what was approved already.\n\n{text}\n\n{github.run_url()}"
            pull = open_pull(BRANCH, title, said.strip())
            return Committed(made, pull, merged=False, words=f"waits until {pull or f'the branch `{BRANCH}`'} is merged")
        return Committed(made, "", merged=True, words=f"{MAIN} names its images ({made[:12]})")
    raise PushRaceError(f"{MAIN} moved {_TRIES} times while the images were written to it.", "Run promote again.")


def _parse(image: str) -> tuple[str, str]:
    """Name and digest; a tag beside the digest says nothing and is left out."""
    found = _IMAGE.fullmatch(image)
    if not found:
        raise ServiceError(
            f"The image {image!r} has no digest, so it may be another one tomorrow.",
            "Name it as registry/name@sha256:... once it is pushed.",
        )
    return found["name"], found["digest"]


def _records(root: Path, main: str, record: Release) -> bool:
    """Whether main records this model: a later release, or a rollback, may have overtaken it."""
    text = git.show(root, main, RELEASE.as_posix())
    try:
        return text is not None and release.read(text).model == record.model
    except PolicyError:
        return False
