"""The images that serve: from one Bento and one Dockerfile, a variant for the CPU and one for the GPU."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard import git, policy, serving
from modelyard.console import step
from modelyard.errors import ModelyardError, ServiceError
from modelyard.image import locked
from modelyard.image.builder import VARIABLE, Builder, find, login
from modelyard.policy import Variant
from modelyard.project import Project
from modelyard.serving import Bento, Lineage, Source

__all__ = ["VARIABLE", "Builder", "Image", "build", "context", "excess", "find", "labels", "push", "secrets", "smoke_test", "trial"]

#: Where the contexts lie, so that an image can be built again by hand.
FOLDER = Path(".modelyard/image")
HERE = Path(__file__).parent
#: The bill of materials in the image.
BILL = "sbom.cdx.json"

#: What tells uv where packages come from, and how to get there.
_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_EXCLUDE_NEWER", "UV_HTTP_TIMEOUT")
_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Image:
    """A built image."""

    variant: Variant
    reference: str  # in the builder's own store
    size_mb: float
    beyond_base_mb: float | None  # None where the builder keeps no base of its own, as BuildKit
    seconds: float
    packages: int


def build(project: Project, source: Source, bento: Bento, variant: Variant, builder: Builder) -> Image:
    """Build one variant. Its context stays in ``.modelyard/image/<variant>``, its bill of materials is among the reports.

    Raises
    ------
    ServiceError
        The packages cannot be locked, or the builder fails; its words are in the message.
    """
    wanted, lineage = project.policy.serving.image, source.lineage
    reference = f"localhost/{bento.tag}-{variant}"
    folder = project.root / FOLDER / variant
    with step(f"lock the packages of the {variant} image"):
        lock = locked.make(project.root, source.code, variant, lineage)
    context(folder, bento, lock)
    project.report(f"sbom-{variant}.cdx.json").write_text(lock.sbom, encoding="utf-8")
    began = time.monotonic()
    with step(f"build the {variant} image by {builder.name}"), secrets(project.root) as mounted:
        builder.build(
            folder,
            reference,
            arguments={"BASE": wanted.base, "VARIANT": variant},
            labels=labels(project, lineage, variant),
            secrets=mounted,
            created=lineage.created,
        )
    seconds = time.monotonic() - began
    size, base = builder.megabytes(reference), builder.megabytes(wanted.base)
    if size is None:
        raise ServiceError(f"{builder.name} does not have {reference}, which it said it built.")
    return Image(variant, reference, size, None if base is None else size - base, seconds, len(lock.packages))


def smoke_test(image: Image, builder: Builder, examples: Path, log: Path) -> dict[str, Any]:
    """Run the image and compare its answers with the predictions recorded at training, as :func:`modelyard.serving.compare`.

    The image for the GPU is allowed the CPU for that: what builds images seldom has one.
    """
    with builder.running(image.reference, log, {"MODELYARD_WORKERS": "1", "MODELYARD_ALLOW_CPU": "1"}) as address:
        return serving.compare(address, examples)


def trial(project: Project, source: Source, bento: Bento, builder: Builder) -> list[Image]:
    """All variants of the policy, built and asked.

    Raises
    ------
    ServiceError
        One of them cannot be built, does not start, or answers otherwise than recorded.
    """
    images = []
    for variant in project.policy.serving.image.variants:
        image = build(project, source, bento, variant, builder)
        with step(f"smoke test of the {variant} image"):
            smoke_test(image, builder, source.examples, project.root / FOLDER / f"{variant}.log")
        images.append(image)
    return images


def push(image: Image, builder: Builder, registry: str, version: str) -> str:
    """Push to ``registry/name``; the image's name there, by digest."""
    with step(f"push the {image.variant} image to {registry}"):
        digest = builder.push(image.reference, f"{registry}:{version}-{image.variant}", login(registry))
    return f"{registry}@{digest}"


def excess(images: Sequence[Image], limits: policy.Image) -> list[str]:
    """One sentence for each limit that the image for the CPU goes beyond. No I/O."""
    said = []
    for image in images:
        if image.variant != "cpu":
            continue
        if limits.size_mb is not None and image.size_mb > limits.size_mb:
            said.append(f"The cpu image has {image.size_mb:.0f} MB, and serving.image.size_mb allows {limits.size_mb:g}.")
        if limits.build_seconds is not None and image.seconds > limits.build_seconds:
            said.append(
                f"The cpu image took {image.seconds:.0f} s to build, and serving.image.build_seconds allows {limits.build_seconds:g}."
            )
    return said


def labels(project: Project, lineage: Lineage, variant: Variant) -> dict[str, str]:
    """What the image says of itself: the OCI's names, and ours for what those have no name for."""
    said = {
        "org.opencontainers.image.title": f"{lineage.name} ({variant})",
        "org.opencontainers.image.source": _source(project.root),
        "org.opencontainers.image.revision": lineage.commit,
        "org.opencontainers.image.version": lineage.version,
        "org.opencontainers.image.created": lineage.created.isoformat(),
        "org.opencontainers.image.base.name": project.policy.serving.image.base,
        "modelyard.model": lineage.name,
        "modelyard.version": lineage.version,
        "modelyard.sha256": lineage.sha256,
        "modelyard.run_id": lineage.run_id,
        "modelyard.data": lineage.data_revision,
        "modelyard.variant": variant,
        "modelyard.sbom": f"/opt/service/{BILL}",
    }
    return {name: value for name, value in said.items() if value}


def context(folder: Path, bento: Bento, lock: locked.Lock) -> None:
    """Lay out all that the Dockerfile reads."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bento.path / "src", folder / "service", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "service" / BILL).write_text(lock.sbom, encoding="utf-8")
    (folder / "requirements.txt").write_text(lock.requirements, encoding="utf-8")
    for name in ("Dockerfile", "bytecode.py"):
        shutil.copyfile(HERE / name, folder / name)
    shutil.copy(locked.uv_binary(), folder / "uv")


@contextmanager
def secrets(root: Path) -> Iterator[dict[str, Path]]:
    """The files that are mounted while packages are installed: environment, certificates and settings of the package index."""
    found = {name: value for name, value in os.environ.items() if name.startswith(_INDEX) or name.upper() in _PROXY}
    found = locked.index_of_pip() | found
    trusted = Path(os.environ.get("SSL_CERT_FILE") or os.devnull)
    contents = {"certificates": trusted.read_bytes() if trusted.is_file() else b"", "settings": locked.toml(locked.settings(root)).encode()}
    for variable, name in (("SSL_CERT_FILE", "certificates"), ("UV_CONFIG_FILE", "settings")):
        if contents[name]:
            found[variable] = f"/run/secrets/{name}"
    lines = [f"{key}={shlex.quote(value)}\n" for key, value in found.items()]
    contents["environment"] = "".join(["# for uv\n", *lines]).encode()
    with tempfile.TemporaryDirectory(prefix="modelyard-secrets-") as folder:
        files = {name: Path(folder) / name for name, content in contents.items() if content}  # an empty one is none to BuildKit
        for name, path in files.items():
            path.write_bytes(contents[name])
        yield files


def _source(root: Path) -> str:
    """Address of the project, without credentials; empty where it is none of the web."""
    server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    if server and repository:
        return f"{server}/{repository}"
    try:
        address = git.origin(root)
    except ModelyardError:
        return ""
    if found := re.fullmatch(r"(?:ssh://)?(?:\w+@)?([\w.-]+\.\w+)(?::\d+/|[:/])(.+?)(?:\.git)?/?", address):
        return f"https://{found[1]}/{found[2]}"
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.hostname:
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path.removesuffix('.git')}"
    return ""
