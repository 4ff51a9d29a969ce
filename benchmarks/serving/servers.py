"""The servers: each started in its own environment, pinned to one core, asked in its own words, and stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peers
import psutil
from prometheus_client.parser import text_string_to_metric_families
from yard import Yard

from modelyard import processes

APPS = Path(__file__).parent / "apps"
#: The servers' core, and the client's.
SERVER, CLIENT = "0", "1"
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Kind:
    """A way to serve the model.

    Parameters
    ----------
    environment
        Of :mod:`peers`.
    command
        What is run, below the environment's ``bin``, with the port.
    env
        Variables; SCRATCH in a value is a folder of its own.
    """

    environment: str
    command: Callable[[Yard, int], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    mlflow: bool = False


def _uvicorn(app: str) -> Callable[[Yard, int], list[str]]:
    return lambda _, port: ["python", "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]


def _bento(what: str = "") -> Callable[[Yard, int], list[str]]:
    return lambda yard, port: ["python", "-m", "bentoml", "serve", what or str(yard.bento), "--host", "127.0.0.1", "--port", str(port)]


def _mlflow(yard: Yard, port: int) -> list[str]:
    return [
        "mlflow",
        "models",
        "serve",
        "-m",
        str(yard.peers / "sklearn"),
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]


ONE = {"MODELYARD_WORKERS": "1"}
LOG = ONE | {"MODELYARD_LOG": "SCRATCH/log"}
KINDS = {
    "mlflow models serve": Kind("mlflow", _mlflow, mlflow=True),
    "FastAPI": Kind("fastapi", _uvicorn("by_hand:app")),
    "FastAPI, uvloop + httptools": Kind("fastapi-uvloop", _uvicorn("by_hand:app")),
    "BentoML, defaults": Kind("bentoml", _bento("plain:Plain")),
    "BentoML, lean": Kind("bentoml", _bento("plain:Lean")),
    "modelyard": Kind("bentoml", _bento(), ONE),
    "modelyard, uvloop + httptools": Kind("bentoml-uvloop", _bento(), ONE),
    "modelyard, log": Kind("bentoml", _bento(), LOG),
    "modelyard, log + shadow": Kind("bentoml", _bento(), LOG | {"MODELYARD_SHADOW": "SHADOW"}),
    "modelyard without BentoML": Kind("bentoml", _uvicorn("bare:app")),
}


@dataclass
class Server:
    """A running one."""

    name: str
    kind: Kind
    yard: Yard
    address: str
    process: psutil.Process
    scratch: Path
    started: float  # seconds to ready

    @property
    def log(self) -> Path:
        """What it wrote to its standard outputs."""
        return self.scratch / "output.log"

    def family(self) -> list[psutil.Process]:
        """Its processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []

    def cpu(self) -> float:
        """Seconds that its processes have worked."""
        total = 0.0
        for each in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:2])
        return total

    def memory(self) -> float:
        """MB of its processes, what they share counted once."""
        total = 0
        for each in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_full_info().pss
        return total / 1e6

    def counts(self, name: str, by: str, **labels: str) -> Counter[str]:
        """What our service counts itself in /metrics: value of a label -> count, where other labels are as given."""
        with urllib.request.urlopen(self.address + "/metrics", timeout=30) as response:
            families = text_string_to_metric_families(response.read().decode())
        found: Counter[str] = Counter()
        for sample in (sample for family in families for sample in family.samples):
            if sample.name == name and labels.items() <= sample.labels.items():
                found[sample.labels.get(by, "")] += int(sample.value)
        return found

    def question(self, rows: int) -> tuple[str, dict[str, Any], list[float]]:
        """Path, body and the predictions that must come: one row as a row, more in columns."""
        asked, expected = self.yard.rows(rows)
        if self.kind.mlflow:
            inputs = self.yard.inputs(rows)
            if rows == 1:
                return "/invocations", {"dataframe_records": inputs}, expected
            return (
                "/invocations",
                {"dataframe_split": {"columns": list(inputs[0]), "data": [list(each.values()) for each in inputs]}},
                expected,
            )
        if rows == 1:
            return "/predict", {"rows": asked}, expected
        return "/predict_columns", {"columns": {name: [row[name] for row in asked] for name in asked[0]}}, expected

    def check(self, rows: int) -> None:
        """Its predictions are the recorded ones."""
        path, body, expected = self.question(rows)
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            found = json.load(response)["predictions"]
        predictions = np.asarray(found, dtype=float).reshape(rows, -1)[:, -1]
        if not np.allclose(predictions, expected, atol=TOLERANCE):
            raise SystemExit(f"{self.name} predicts otherwise: {predictions[:3]} and not {expected[:3]}.")


@contextlib.contextmanager
def running(name: str, yard: Yard, cache: Path, *, cores: str = SERVER, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server, wait until it is ready, and stop it."""
    kind = KINDS[name]
    home = peers.environment(kind.environment, cache)
    scratch = Path(tempfile.mkdtemp(prefix="serving-"))
    shadow = _shadow(yard, scratch)
    given = {key: value.replace("SCRATCH", str(scratch)).replace("SHADOW", str(shadow)) for key, value in (kind.env | (env or {})).items()}
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("MODELYARD_", "BENTOML_", "MLFLOW_", "VIRTUAL_ENV"))
    }
    source = yard.bento / "src"  # the project's package as it was packed, and modelyard.serve
    everything = {
        **inherited,
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{APPS}:{source}",
        "MODEL": str(source / "models/model.onnx"),
        "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **given,
    }
    if "modelyard" in name and "without" not in name:
        del everything["PYTHONPATH"]
    port = free_port()
    address, begun = f"http://127.0.0.1:{port}", time.perf_counter()
    command = kind.command(yard, port)
    with (scratch / "output.log").open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", cores, str(home / "bin" / command[0]), *command[1:]],
            cwd=scratch,
            env=everything,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with processes.ended_with_us(process):
            wait(process, address, "/ping" if kind.mlflow else "/readyz", scratch / "output.log")
            yield Server(name, kind, yard, address, psutil.Process(process.pid), scratch, time.perf_counter() - begun)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _shadow(yard: Yard, scratch: Path) -> Path:
    """A challenger: the same model, which costs what the champion costs."""
    folder = scratch / "challenger"
    shutil.copytree(yard.bento / "src/models", folder)
    return folder


def wait(process: subprocess.Popen[bytes], address: str, path: str, log: Path | None = None) -> None:
    """Until it answers there, whatever it says."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address + path, timeout=5):
                return
        except urllib.error.HTTPError:
            if log is None:
                return
            time.sleep(0.02)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    said = log.read_text()[-3000:] if log else ""
    raise SystemExit(f"{process.args} is not ready:\n{said}")


def free_port() -> int:
    """On 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
