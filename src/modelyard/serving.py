"""The Bento: built from given bytes and a given commit's code, started, asked, stopped."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelyard.errors import ServiceError
from modelyard.project import EXAMPLES, MODEL

#: Largest difference between a prediction recorded at training and the service's answer.
TOLERANCE = 1e-5
_START_SECONDS = 120


@dataclass(frozen=True)
class Bento:
    """A built Bento."""

    tag: str
    path: Path


def build(*, code: Path, model: Path, package: str, name: str, labels: dict[str, str], home: Path) -> Bento:
    """Build a Bento that holds the package's serving code and the model, and nothing else.

    Parameters
    ----------
    code
        A project's tree, at the commit the model was trained from.
    model
        The verified model file.
    labels
        What the Bento says of itself: model version, hashes, commit.
    home
        The Bento store; not the user's own.
    """
    source = code / "src" / package
    if not (source / "service.py").exists():
        raise ServiceError(f"src/{package}/service.py is missing at that commit.", "The service is what is built and served.")
    with tempfile.TemporaryDirectory(prefix="modelyard-bento-") as folder:
        context = Path(folder)
        shutil.copytree(source, context / package, ignore=shutil.ignore_patterns("__pycache__"))
        (context / MODEL).parent.mkdir(parents=True)
        shutil.copyfile(model, context / MODEL)
        config = {
            "service": f"{package}.service:Service",
            "name": name,
            "labels": labels,
            "include": [f"{package}/*.py", str(MODEL)],
            "python": {"packages": requirements(), "lock_packages": False},
        }
        (context / "bentofile.yaml").write_text(json.dumps(config))  # JSON is YAML
        done = _bentoml(["build", "--output", "tag"], home, cwd=context)
        if done.returncode:
            raise ServiceError(f"bentoml build failed: {_last_words(done.stderr or done.stdout)}")
    tag = done.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    bento_name, _, bento_version = tag.partition(":")
    return Bento(tag, home / "bentos" / bento_name / bento_version)


def requirements() -> list[str]:
    """What a serving image installs, at the versions that this environment tested."""
    return [f"{name}=={version(name)}" for name in ("bentoml", "numpy", "onnxruntime")]


@contextmanager
def served(bento: Bento, home: Path) -> Iterator[str]:
    """Serve a Bento on a free port of 127.0.0.1; its address. It is stopped on leaving.

    Raises
    ------
    ServiceError
        It ended, or was not ready in time; its last words are in the message.
    """
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    log = home / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", str(bento.path), "--host", "127.0.0.1", "--port", str(port)],
            env=_environment(home),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(address, process, log)
            yield address
        finally:
            _stop(process)


def smoke_test(bento: Bento, examples: Path, home: Path) -> dict[str, Any]:
    """Start the Bento and compare its answers with the predictions recorded at training.

    Returns
    -------
    dict
        ``rows`` compared and the largest ``difference``.

    Raises
    ------
    ServiceError
        It does not start, answer, or answer the same.
    """
    rows, recorded = read_examples(examples)
    with served(bento, home) as address:
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
        [sys.executable, "-m", "bentoml", *args], cwd=cwd, env=_environment(home), capture_output=True, text=True, check=False
    )


def _environment(home: Path) -> dict[str, str]:
    # The project's own source must not shadow the Bento's copy of it.
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BENTOML_CONFIG")}
    return {**inherited, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"The service ended with code {process.returncode} at its start: {_last_words(log.read_text())}")
        if "Application startup failed" in log.read_text():  # BentoML would start its worker again and again
            raise ServiceError(f"The service did not start: {_last_words(log.read_text().partition('Application startup failed')[0])}")
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    raise ServiceError(f"The service was not ready after {_START_SECONDS} s: {_last_words(log.read_text())}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=10)
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-5:]) or "no message"
