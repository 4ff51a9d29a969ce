"""The packages of an image: locked with hashes by uv, and listed as a software bill of materials (CycloneDX)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard import serving
from modelyard.errors import ProjectError, ServiceError, UsageError
from modelyard.policy import Variant
from modelyard.serving import Lineage

_BY_PIP = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL"}
#: Settings of uv that say where packages come from, and from when.
_SETTINGS = ("exclude-newer", "find-links", "index", "index-strategy", "index-url", "extra-index-url", "keyring-provider", "native-tls")


@dataclass(frozen=True)
class Lock:
    """What an image installs."""

    requirements: str  # of pip and uv: exact versions, each with the hashes of its files; no address
    sbom: str  # CycloneDX as JSON
    packages: dict[str, str]  # name -> version


def make(root: Path, code: Path, variant: Variant, lineage: Lineage) -> Lock:
    """Lock the packages of a variant, at the versions that this environment has tested wherever it has them.

    Parameters
    ----------
    root
        The project, whose pyproject.toml says where packages come from.
    code
        The tree of the model's commit, whose pyproject.toml may name more packages that serve.

    Raises
    ------
    ServiceError
        There is no such set of packages, or the index does not answer; uv's words are in the message.
    """
    here = {entry.metadata["Name"]: entry.version for entry in distributions() if entry.metadata["Name"]}
    document = {
        "project": {
            "name": f"{lineage.name}-{variant}",
            "version": "0",
            "requires-python": f">={sys.version_info.major}.{sys.version_info.minor}",
            "dependencies": serving.requirements(code, variant),
        },
        "tool": {
            "uv": {
                "package": False,
                "environments": ["sys_platform == 'linux' and implementation_name == 'cpython'"],
                "constraint-dependencies": [f"{name}=={version}" for name, version in sorted(here.items())],
                **settings(root),
            }
        },
    }
    with tempfile.TemporaryDirectory(prefix="modelyard-lock-") as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text(toml(document), encoding="utf-8")
        what = f"The packages of the {variant} image cannot be locked"
        _uv(["lock"], folder, what)
        plain = ["export", "--frozen", "--no-emit-project", "--no-header", "--no-annotate"]
        requirements = _uv(plain, folder, what)
        listed = json.loads(_uv(["export", "--frozen", "--format", "cyclonedx1.5"], folder, what))
    packages = {each["name"]: each["version"] for each in listed["components"]}
    return Lock(requirements, json.dumps(_bill(listed, lineage, variant), indent=1) + "\n", packages)


def settings(root: Path) -> dict[str, Any]:
    """What the project's pyproject.toml says of where packages come from."""
    path = root / "pyproject.toml"
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("uv", {}) if path.exists() else {}
    except ValueError as error:
        raise ProjectError(f"{path} is no TOML: {error}") from None
    return {name: said[name] for name in _SETTINGS if name in said}


def index_of_pip() -> dict[str, str]:
    """The index that the environment names in pip's words, in those of uv."""
    return {ours: os.environ[theirs] for theirs, ours in _BY_PIP.items() if os.environ.get(theirs)}


def toml(document: dict[str, Any]) -> str:
    """Write TOML."""
    import tomli_w

    return tomli_w.dumps(document)


def uv_binary() -> Path:
    """The program itself, where the name on the PATH may be a script that starts it.

    Raises
    ------
    UsageError
        It is not installed.
    """
    told = _run(["uv", "run", "--no-project", "--quiet", sys.executable, "-c", "import os; print(os.environ['UV'])"], Path.cwd())
    if told.returncode:
        raise ServiceError(f"uv does not say where it lies: {serving.last_words(told.stderr)}")
    return Path(told.stdout.strip())


def _bill(listed: dict[str, Any], lineage: Lineage, variant: Variant) -> dict[str, Any]:
    """The bill of a model's image: the same for the same lock, and without the address of an index."""
    about = listed["metadata"]
    about["timestamp"] = lineage.created.isoformat()
    root = {"type": "container", "name": f"{lineage.name}-{variant}", "version": lineage.version or lineage.sha256[:12]}
    about["component"] = {"bom-ref": about["component"]["bom-ref"], **root}
    for component in listed["components"]:
        for reference in component.get("externalReferences", []):
            reference["url"] = urlsplit(reference["url"]).path.rpartition("/")[2]  # the file's name; its hash stands beside
    return {key: value for key, value in listed.items() if key != "serialNumber"}


def _uv(arguments: list[str], folder: Path, what: str) -> str:
    done = _run(["uv", *arguments, "--quiet"], folder)
    if done.returncode:
        raise ServiceError(f"{what}: {serving.last_words(done.stderr)}")
    return done.stdout


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    foreign = ("VIRTUAL_ENV", "UV_FROZEN", "UV_LOCKED", "UV_PROJECT")
    env = index_of_pip() | {name: value for name, value in os.environ.items() if name not in foreign}
    try:
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError("uv, which locks and installs the packages of an image, was not found.", "pip install uv") from None
