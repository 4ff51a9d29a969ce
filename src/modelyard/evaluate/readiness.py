"""Can the artifact serve: is it fast, small and frugal enough, and does it still predict what it predicted at training?

Times on a shared machine are noisy, and only ever too long. So several rounds are timed, and the best round's 99th percentile decides:
what the model can keep to, not what the neighbours left it. Where that is over the limit, but neither the median nor the time that the
processor worked is, the machine was too busy to tell: inconclusive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from modelyard import policy, serving
from modelyard.errors import ModelyardError
from modelyard.evaluate import versions
from modelyard.evaluate.check import Check, Maker, Status

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.project import Project

#: Rows of a batch, rounds, calls in a round, seconds after which a round and after which all end, and calls before the first.
BATCH, ROUNDS, CALLS, ROUND_SECONDS, SECONDS, WARM_UP = 100, 20, 100, 0.3, 1.5, 5

# A process of its own, since what this one holds says nothing; the frame and all imports are there before the first look.
_MEMORY = """
import gc, importlib, pathlib, sys
import psutil
from modelyard import serving
from modelyard.evaluate import readiness
package, model, examples, time = sys.argv[1:]
load = importlib.import_module(package + ".model").load
frame = readiness.frame_of(serving.read_examples(pathlib.Path(examples))[0], time)
gc.collect()
before = psutil.Process().memory_info().rss
loaded = load(pathlib.Path(model))
loaded.predict(frame)
print(psutil.Process().memory_info().rss - before)
"""


class Timing(BaseModel):
    """Time of a prediction; the best of several rounds."""

    rows: int
    p50_ms: float
    p99_ms: float
    cpu_p99_ms: float = Field(description="99th percentile of the time that the processor worked for it.")
    calls: int = Field(description="Calls of the best round.")
    rounds: int


class Measurement(BaseModel):
    """What was measured on this machine; not the same twice."""

    size_mb: float | None = Field(None, description="Of the model file, in 10^6 bytes.")
    memory_mb: float | None = Field(None, description="Resident memory that loading and a first prediction add, in 10^6 bytes.")
    single: Timing | None = None
    batch: Timing | None = None
    difference: float | None = Field(None, description="Largest difference from the predictions recorded at training.")
    compared: int = Field(0, description="Rows that were recorded.")
    problems: dict[str, str] = Field(default_factory=dict, description="What could not be measured -> why.")


class Readiness(BaseModel):
    """The measurements, held against the policy's limits."""

    checks: list[Check]
    measured: Measurement


def of(project: Project) -> Readiness:
    """Measure the project's ``models/model.onnx``, and judge it by its policy.

    Raises
    ------
    ProjectError
        The project has no ``model.load``.
    """
    from modelyard.project import EXAMPLES, MODEL, load_object

    examples = project.root / EXAMPLES
    given = project.policy
    measured = measure(
        project.root / MODEL,
        examples,
        load_object(project, "model", "load"),
        time_column=given.data.time,
        source=project.source,
        package=given.package,
    )
    return judge(measured, given.evaluate.readiness, _versions(project, examples))


def measure(
    model: Path, examples: Path, load: Callable[[Path], Any], *, time_column: str, source: Path | None = None, package: str = ""
) -> Measurement:
    """Load the file as the service does, and time it on the rows recorded at training; at most about 4 s.

    Parameters
    ----------
    load
        The project's ``model.load``.
    source, package
        Where the same ``load`` is found by another process; without them memory is not measured.
    """
    found = Measurement()
    try:
        found.size_mb = model.stat().st_size / 1e6
    except OSError as error:
        found.problems["size"] = f"{model.name} cannot be read: {error.strerror}"
    try:
        rows, recorded = serving.read_examples(examples)
    except (OSError, ModelyardError) as error:
        found.problems["examples"] = f"{examples.name}: {error.what if isinstance(error, ModelyardError) else error.strerror}"
        return found
    found.compared = len(rows)
    try:
        frame = frame_of(rows, time_column)
        predict = load(model).predict
        found.difference = serving.largest_difference(list(np.asarray(predict(frame), dtype=float).ravel()), recorded)
        found.single = _timed(predict, [frame.iloc[[i]].reset_index(drop=True) for i in range(len(frame))])
        found.batch = _timed(predict, [frame.iloc[np.arange(BATCH) % len(frame)].reset_index(drop=True)])
    except Exception as error:
        found.problems["prediction"] = f"{type(error).__name__}: {error}"
    if source is None:
        found.problems["memory"] = "it was not asked for"
    else:
        found.memory_mb, found.problems["memory"] = _memory(model, examples, time_column, source, package)
    found.problems = {what: why for what, why in found.problems.items() if why}
    return found


def judge(found: Measurement, limits: policy.Readiness, compared_versions: Check | None = None) -> Readiness:
    """Hold measurements against limits; without a limit they are noted. A limit on what could not be measured is unknown."""
    problems = found.problems
    predicting = problems.get("prediction") or problems.get("examples", "")
    single, batch = found.single, found.batch
    one = _limited("latency of one row", single.p99_ms if single else None, limits.p99_ms, "ms", predicting, _told(single))
    checks = [
        _unless_busy(one, single, limits.p99_ms),
        _limited(f"latency of {BATCH} rows", batch.p99_ms if batch else None, None, "ms", predicting, _told(batch)),
        _limited("memory", found.memory_mb, limits.memory_mb, "MB", problems.get("memory") or predicting, "added by loading the model"),
        _limited("size", found.size_mb, limits.size_mb, "MB", problems.get("size", ""), "model file"),
        _parity(found),
    ]
    return Readiness(checks=[*checks, *([compared_versions] if compared_versions else [])], measured=found)


def frame_of(rows: Sequence[dict[str, Any]], time_column: str) -> pd.DataFrame:
    """Request rows as a table; JSON knows no times."""
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if time_column in frame:
        frame[time_column] = pd.to_datetime(frame[time_column])
    return frame


def _timed(predict: Callable[[Any], Any], frames: Sequence[Any]) -> Timing:
    """The round with the lowest 99th percentile."""
    for i in range(WARM_UP):
        predict(frames[i % len(frames)])
    found: list[Timing] = []
    end = time.perf_counter() + SECONDS
    while len(found) < ROUNDS and (not found or time.perf_counter() < end):
        found.append(_round(predict, frames))
    return min(found, key=lambda each: each.p99_ms).model_copy(update={"rounds": len(found)})


def _round(predict: Callable[[Any], Any], frames: Sequence[Any]) -> Timing:
    wall: list[float] = []
    cpu: list[float] = []
    end = time.perf_counter() + ROUND_SECONDS
    while len(wall) < CALLS and (len(wall) < 2 or time.perf_counter() < end):
        frame = frames[len(wall) % len(frames)]
        start, worked = time.perf_counter(), time.process_time()
        predict(frame)
        wall.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - worked))
    p99, cpu_p99 = (float(np.quantile(taken, 0.99)) for taken in (wall, cpu))
    return Timing(rows=len(frames[0]), p50_ms=float(np.median(wall)), p99_ms=p99, cpu_p99_ms=cpu_p99, calls=len(wall), rounds=1)


def _memory(model: Path, examples: Path, time_column: str, source: Path, package: str) -> tuple[float | None, str]:
    """Memory that loading adds in a new process; or why that is not known."""
    command = [sys.executable, "-c", _MEMORY, package, str(model), str(examples), time_column]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        return None, "loading took more than 120 s"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["no message"])[-1]
    return max(0.0, int(done.stdout.split()[-1]) / 1e6), ""


def _versions(project: Project, examples: Path) -> Check:
    try:
        needed = versions.imported(project.source, project.policy.package)
        return versions.judge(versions.training(project.root, examples), versions.service(project.root), needed)
    except (metadata.PackageNotFoundError, SyntaxError) as error:
        return versions.check("unknown", f"What the service installs is not known: {type(error).__name__}: {error}")


def _parity(found: Measurement) -> Check:
    limit = f"at most {serving.TOLERANCE:g}"
    if why := found.problems.get("prediction"):
        return _check("parity", "failed", f"The model does not answer the rows recorded at training: {why}", limit=limit)
    if found.difference is None:
        why = found.problems.get("examples", "nothing was recorded")
        return _check("parity", "unknown", f"There is nothing to compare with: {why}", limit=limit)
    said = f"The {found.compared} predictions recorded at training come again with differences up to {found.difference:.2g}"
    same = found.difference <= serving.TOLERANCE
    finite = found.difference if np.isfinite(found.difference) else None
    return _check("parity", "passed" if same else "failed", f"{said}.", finite, limit)


def _told(timing: Timing | None) -> str:
    if timing is None:
        return ""
    return f"99th percentile of {timing.calls} calls, best of {timing.rounds} rounds; median {timing.p50_ms:.2g} ms"


def _unless_busy(check: Check, timing: Timing | None, limit: float | None) -> Check:
    """A waiting model is slow in the median; one that was only kept waiting now and then by other processes is not."""
    if check.status != "failed" or timing is None or limit is None or max(timing.p50_ms, timing.cpu_p99_ms) > limit:
        return check
    message = f"{check.message} The processor worked {timing.cpu_p99_ms:.2g} ms at most for 99 %: this machine was too busy to tell."
    return check.model_copy(update={"status": "inconclusive", "message": message})


def _limited(name: str, value: float | None, limit: float | None, unit: str, problem: str, told: str) -> Check:
    words = f"at most {limit:g} {unit}" if limit is not None else ""
    if value is None:
        status: Status = "noted" if limit is None else "unknown"
        return _check(name, status, f"{name.capitalize()} could not be measured: {problem or 'nothing to measure'}.", limit=words)
    said = f"{name.capitalize()}: {value:.3g} {unit} ({told})"
    if limit is None:
        return _check(name, "noted", f"{said}; the policy sets no limit.", value)
    if value > limit:
        return _check(name, "failed", f"{said}; {limit:g} {unit} are allowed.", value, words)
    return _check(name, "passed", f"{said}.", value, words)


_check = Maker(
    "readiness",
    {
        "memory": "a container that outgrows its limit is killed",
        "size": "each start of the service brings the file",
        "parity": "what was judged must be what serves",
    },
    otherwise="a model that meets every metric and misses the time it has cannot be used",
)
