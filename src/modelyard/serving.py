"""The Bento: built from given bytes and a given commit's code, started, asked, stopped."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modelyard
from modelyard import processes
from modelyard.console import say
from modelyard.errors import ProjectError, ServiceError
from modelyard.policy import Variant
from modelyard.project import EXAMPLES, MODEL, Project
from modelyard.release import sha256

if TYPE_CHECKING:
    from modelyard.champion import Champion

#: Largest difference between a prediction recorded at training and the service's answer.
TOLERANCE = 1e-5
_START_SECONDS = 120
#: Folder of the champion before, as modelyard.serve.fallback reads it.
PREVIOUS = "previous"
#: Dependency group of a project's pyproject.toml: what its service needs beside the runtime's own packages.
GROUP = "serve"


#: Variables of a running service that must not come from whoever tries a Bento here.
_FOREIGN = (
    "PYTHONPATH",
    "BENTOML_CONFIG",
    "MODELYARD_LOG",
    "MODELYARD_SHADOW",
    "MODELYARD_SHA256",
    "MODELYARD_VARIANT",
    "MODELYARD_MODELS",
)

# Runs in a process of its own: the schema is that of the code given, and Python imports a package only once.
_DERIVE = """
import json, sys
from pathlib import Path
from modelyard import contracts, serving
from modelyard.errors import ModelyardError
from modelyard.policy import Policy
from modelyard.project import Project
code, model, examples, into = map(Path, sys.argv[1:5])
try:
    rows, predictions = serving.read_examples(examples)
    project = Project(code, Policy.model_validate_json(sys.argv[5]))
    contracts.write(contracts.derive(project, model=model, rows=rows, predictions=predictions, **json.loads(sys.argv[6])), into)
except ModelyardError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from: what its Bento, its contract and its image say of it."""

    name: str
    sha256: str
    commit: str  # the code that it was trained from
    created: datetime  # the logical date
    version: str = ""  # in the registry; empty before it has one
    run_id: str = ""
    data_revision: str = ""  # hash of dvc.lock


@dataclass(frozen=True)
class Source:
    """A model to serve: its file, the rows recorded with it, and the code that it was trained from."""

    code: Path  # a project's tree
    model: Path
    examples: Path
    lineage: Lineage


@dataclass(frozen=True)
class Bento:
    """A built Bento."""

    tag: str
    path: Path


def released(champion: Champion) -> Source:
    """What a release record names."""
    record = champion.release
    lineage = Lineage(
        name=record.model.name,
        sha256=record.model.sha256,
        commit=record.code.commit,
        created=record.logical_date,
        version=record.model.version,
        run_id=record.model.run_id,
        data_revision=record.code.dvc_lock,
    )
    return Source(champion.folder, champion.model, champion.examples, lineage)


def build(project: Project, source: Source, home: Path, previous: Source | None = None) -> Bento:
    """Build a Bento that holds the serving code, the model and its contract, and nothing else.

    Parameters
    ----------
    home
        The Bento store; not the user's own.
    previous
        The champion before, where it is to answer when the model fails; left out where its code is another.

    Raises
    ------
    ServiceError
        The model is not the one named, there is no service, no contract, or BentoML cannot build it.
    """
    package, lineage = project.policy.package, source.lineage
    code = source.code / "src" / package
    if not (code / "service.py").exists():
        raise ServiceError(f"src/{package}/service.py is missing at that commit.", "The service is what is built and served.")
    with tempfile.TemporaryDirectory(prefix="modelyard-bento-") as folder:
        context = Path(folder)
        shutil.copytree(code, context / package, ignore=shutil.ignore_patterns("__pycache__"))
        runtime = Path(modelyard.__file__).parent
        shutil.copytree(runtime / "serve", context / "modelyard/serve", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(runtime / "__init__.py", context / "modelyard/__init__.py")
        _add(project, source, context / MODEL.parent)
        if previous and _same(source.code, previous.code, package):
            _add(project, previous, context / MODEL.parent / PREVIOUS)
        elif previous:
            say(f"Version {previous.lineage.version} has other code, so it cannot answer where this model fails.")
        config = {
            "service": f"{package}.service:Service",
            "name": lineage.name,
            "labels": _labels(lineage),
            "include": [f"{package}/**/*.py", "modelyard/**/*.py", f"{MODEL.parent}/**"],
            "python": {"packages": requirements(source.code), "lock_packages": False},
        }
        (context / "bentofile.yaml").write_text(json.dumps(config))  # JSON is YAML
        done = _bentoml(["build", "--output", "tag"], home, cwd=context)
        if done.returncode:
            raise ServiceError(f"bentoml build failed: {last_words(done.stderr or done.stdout)}")
    tag = done.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    bento_name, _, bento_version = tag.partition(":")
    return Bento(tag, home / "bentos" / bento_name / bento_version)


def requirements(code: Path | None = None, variant: Variant = "cpu") -> list[str]:
    """What a serving image installs, at the versions that this environment tested.

    Parameters
    ----------
    code
        A project's tree, whose pyproject.toml may name more in the dependency group ``serve``.

    Raises
    ------
    ProjectError
        It names a package that is not installed here, so that nothing tested it.
    """
    runtime = "onnxruntime-gpu[cuda,cudnn]" if variant == "gpu" else "onnxruntime"
    pins = [f"{name}=={version(name)}" for name in ("bentoml", "numpy", "orjson")]
    return [*pins, f"{runtime}=={version('onnxruntime')}", *map(_tested, _group(code))]


def _group(code: Path | None) -> list[str]:
    path = code / "pyproject.toml" if code else None
    if path is None or not path.exists():
        return []
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")).get("dependency-groups", {}).get(GROUP, [])
    except ValueError as error:
        raise ProjectError(f"{path} is no TOML: {error}") from None
    return [each for each in said if isinstance(each, str)]


def _tested(wanted: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        named = Requirement(wanted)
        return f"{named.name}{'[' + ','.join(sorted(named.extras)) + ']' if named.extras else ''}=={version(named.name)}"
    except InvalidRequirement:
        raise ProjectError(f"{wanted!r} in the dependency group {GROUP!r} of pyproject.toml is no requirement.") from None
    except PackageNotFoundError:
        raise ProjectError(f"The dependency group {GROUP!r} names {wanted}, which is not installed here.", f"uv add {wanted}") from None


def _add(project: Project, source: Source, folder: Path) -> None:
    """Put the model and its contract into a folder of the Bento."""
    folder.mkdir(parents=True)
    model, lineage = folder / MODEL.name, source.lineage
    shutil.copyfile(source.model, model)
    found = sha256(model)
    if found != lineage.sha256:
        raise ServiceError(f"The model to be served is {lineage.sha256[:12]}, and {source.model} is {found[:12]}.", "Run train again.")
    facts = {name: getattr(lineage, name) for name in ("version", "run_id", "commit", "data_revision")}
    arguments = [str(path) for path in (source.code, model, source.examples, folder)]
    done = subprocess.run(
        [sys.executable, "-c", _DERIVE, *arguments, project.policy.model_dump_json(), json.dumps(facts)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceError(f"What the service promises cannot be derived from the schema: {last_words(done.stderr)}")


def _same(code: Path, other: Path, package: str) -> bool:
    """Whether two trees hold the same package."""
    one, two = ({p.relative_to(root): p.read_bytes() for p in (root / "src" / package).rglob("*.py")} for root in (code, other))
    return one == two


def _labels(lineage: Lineage) -> dict[str, str]:
    """What the Bento says of itself; BentoML takes 63 characters."""
    said = {"model": lineage.name, "version": lineage.version, "sha256": lineage.sha256[:63], "commit": lineage.commit[:63]}
    return {f"modelyard.{name}": value for name, value in said.items() if value}


@dataclass(frozen=True)
class Running:
    """A service that was started here."""

    address: str
    pid: int


@contextmanager
def served(bento: Bento, home: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Serve a Bento on a free port of 127.0.0.1. It is stopped on leaving.

    Parameters
    ----------
    env
        Further variables of the service.

    Raises
    ------
    ServiceError
        It ended, or was not ready in time; its last words are in the message.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = home / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", str(bento.path), "--host", "127.0.0.1", "--port", str(port)],
            env={**environment(home), **(env or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with processes.ended_with_us(process):
            wait_until_ready(address, process, log)
            yield Running(address, process.pid)


def smoke_test(bento: Bento, examples: Path, home: Path) -> dict[str, Any]:
    """Start the Bento and compare its answers with the predictions recorded at training; as :func:`compare`."""
    with served(bento, home, {"MODELYARD_WORKERS": "1"}) as running:
        return compare(running.address, examples)


def compare(address: str, examples: Path) -> dict[str, Any]:
    """Ask a running service for what was predicted at training.

    Returns
    -------
    dict
        ``rows`` compared and the largest ``difference``.

    Raises
    ------
    ServiceError
        It does not answer, or not the same.
    """
    rows, recorded = read_examples(examples)
    answer = predict(address, rows)
    difference = largest_difference(answer, recorded)
    if difference > TOLERANCE:
        raise ServiceError(
            f"The service's predictions differ from those recorded at training by up to {difference:.2g} (allowed {TOLERANCE})."
        )
    return {"rows": len(answer), "difference": difference}


def read_examples(path: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """The request rows, and the predictions for them, that were recorded at training.

    Raises
    ------
    ServiceError
        The file holds no such rows: then nothing can be compared.
    """
    try:
        content = json.loads(path.read_text())
        rows, predictions = list(content["rows"]), [float(value) for value in content["predictions"]]
    except (ValueError, KeyError, TypeError):
        rows, predictions = [], []
    if not rows or len(rows) != len(predictions):
        raise ServiceError(f"{EXAMPLES} holds no rows with their predictions.", "Let the train stage record some: modelyard.export does.")
    return rows, predictions


def largest_difference(predictions: Sequence[float], recorded: Sequence[float]) -> float:
    """Largest absolute difference; infinite where their numbers differ, or one of them is no number."""
    if len(predictions) != len(recorded):
        return math.inf
    differences = [abs(float(a) - float(b)) for a, b in zip(predictions, recorded, strict=True)]
    return math.inf if any(map(math.isnan, differences)) else max(differences, default=0.0)


def predict(address: str, rows: list[dict[str, Any]]) -> list[float]:
    """Ask a running service for the predictions of some rows."""
    request = urllib.request.Request(
        f"{address}/predict", data=json.dumps({"rows": rows}).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return [float(p) for p in json.load(response)["predictions"]]
    except urllib.error.HTTPError as error:
        raise ServiceError(f"The service answered {error.code}: {error.read().decode(errors='replace')[:500]}") from None
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise ServiceError(f"The service gave no usable answer: {error}") from None


def _bentoml(args: list[str], home: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    try:
        version("bentoml")
    except PackageNotFoundError:
        raise ServiceError("bentoml is not installed.", "uv add bentoml") from None
    home.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "bentoml", *args], cwd=cwd, env=environment(home), capture_output=True, text=True, check=False
    )


def environment(home: Path) -> dict[str, str]:
    """What BentoML sees; the project's own source must not shadow the Bento's copy of it."""
    inherited = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
    return {**inherited, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a service that was started.

    Raises
    ------
    ServiceError
        It ended, or was not ready in time; the last words of its log are in the message.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"The service ended with code {process.returncode} at its start: {last_words(log.read_text())}")
        if "Application startup failed" in log.read_text():  # BentoML would start its worker again and again
            raise ServiceError(f"The service did not start: {last_words(log.read_text().partition('Application startup failed')[0])}")
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    raise ServiceError(f"The service was not ready after {_START_SECONDS} s: {last_words(log.read_text())}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def last_words(text: str, lines: int = 5) -> str:
    """The end of what a program printed, on one line."""
    return " | ".join(line.strip()[:300] for line in text.strip().splitlines()[-lines:]) or "no message"
