"""Fresh models beside the live one: the champion's own recipe, trained in a scratch copy of its commit that nobody keeps.

Two of them, each judged on days that it has not seen. One is trained on all rows before the window, as a training would: its gain
is what a training mends. The other sees the older half of the window only: it wins where the label no longer depends on the
features as it did, long before new rows outnumber the old ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from modelyard import dataset, policy, predictions, store
from modelyard.errors import ModelyardError, ShadowError
from modelyard.evaluate import metrics
from modelyard.evaluate.paired import MINIMUM_DAYS
from modelyard.monitor import performance
from modelyard.policy import METRICS
from modelyard.project import EXAMPLES, MODEL, PROFILE, RAW, REPORTS

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.monitor.report import Decay

#: Name of the stage of dvc.yaml that trains.
STAGE = "train"
#: Seconds that one training may take.
TIMEOUT = 3600.0
# A recipe may log its runs or write a job's outputs: a shadow's are nobody's business.
_NOT_FOR_SHADOWS = ("MLFLOW_", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH", "DVC_", "GIT_")


@dataclass(frozen=True)
class Window:
    """The live model's rows, scored by it, in [start, end)."""

    frame: pd.DataFrame
    scores: np.ndarray
    start: datetime
    end: datetime


def judge(champion: Champion, window: Window, usual: float, *, timeout: float = TIMEOUT) -> tuple[Decay | None, str]:
    """Whether a fresh model beats the live one on the window; None, and why that is not known.

    Parameters
    ----------
    usual
        Share of rows with a label in the training data.
    timeout
        Seconds for each of the two trainings.
    """
    data, task = champion.project.policy.data, champion.project.policy.task
    metric = champion.release.evaluation.metric
    if metric not in METRICS[task]:
        return None, f"{metric}, which decided the release, is no metric of a {task} task"
    time, label = window.frame[data.time].to_numpy(), window.frame[data.label].to_numpy(dtype=float)
    known, reason = performance.matured(time, label, usual)
    if reason:
        return None, reason
    unseen = known & (time >= np.datetime64(champion.release.evaluation.holdout[0]))
    if not unseen.any():
        return None, "no labels have matured since the rows that the live model was trained on"
    window = replace(window, end=_after(time[unseen]))
    first, no_fresh = _compare(champion, window, unseen, None, timeout)
    middle = window.end - (window.end - window.start) / 2
    middle = middle.replace(hour=0, minute=0, second=0, microsecond=0)
    second, _ = _compare(champion, replace(window, start=middle), unseen, window.start, timeout)
    found = performance.strongest(first, second)
    return found, "" if found else no_fresh


def _compare(champion: Champion, window: Window, unseen: np.ndarray, since: datetime | None, timeout: float) -> tuple[Decay | None, str]:
    """The gain of a shadow trained on the rows from ``since`` (default: from the first) up to the window."""
    project, trained_to = champion.project, champion.release.evaluation.holdout[0]
    data, metric = project.policy.data, champion.release.evaluation.metric
    start = max(window.start, trained_to)
    if since is None and start == trained_to:
        return None, "there are no newer rows to train a fresh model on than those of the live one"
    if since is not None and window.start < trained_to:
        return None, "the live model was trained on these days"
    time = window.frame[data.time]
    inside = ((time >= start) & (time < window.end)).to_numpy()
    try:
        if since is None:
            opening = datetime(data.start.year, data.start.month, data.start.day)
            before = dataset.load(project, opening, start)
        else:
            before = window.frame[((time >= since) & (time < start)).to_numpy()]
        fresh = predict(champion, before, window.frame[inside], start, window.end, timeout=timeout)
    except ModelyardError as error:
        return None, f"no fresh model could be trained ({error.what.splitlines()[0].rstrip('.')})"
    judged = unseen[inside]
    rows = performance.Rows(
        time[inside].to_numpy()[judged], window.frame[data.label].to_numpy(dtype=float)[inside][judged], window.scores[inside][judged]
    )
    up, settings = METRICS[project.policy.task][metric], metrics.settings(project.policy.evaluate)
    return performance.decay(metric, up, rows, fresh[judged], project.policy.monitor.decay, settings)


def predict(
    champion: Champion, before: pd.DataFrame, window: pd.DataFrame, start: datetime, end: datetime, *, timeout: float = TIMEOUT
) -> np.ndarray:
    """What a model of the champion's recipe, trained on ``before``, says of the rows of ``window``: (n,).

    Parameters
    ----------
    before
        Rows before ``start``.
    window
        Rows of [start, end): whole days, at least seven.

    Raises
    ------
    ShadowError
        There are no such rows, or the recipe does not make a model of them.
    """
    if before.empty:
        raise ShadowError(f"there are no rows before {start:%Y-%m-%d}")
    if (end - start).days < MINIMUM_DAYS:
        raise ShadowError(f"{(end - start).days} days are too few to judge on")
    with tempfile.TemporaryDirectory(prefix="modelyard-shadow-", ignore_cleanup_errors=True) as name:
        scratch = Path(name) / "project"
        _copy(champion.folder, scratch)
        _patch(scratch, (end - start).days)
        _write_rows(scratch, before, window, end)
        _train(scratch, Path(name), timeout)
        if not (scratch / MODEL).exists():
            raise ShadowError(f"stage {STAGE} made no {MODEL}")
        return predictions.of_champion(replace(champion, folder=scratch), window)


def _copy(folder: Path, scratch: Path) -> None:
    """The tree of the champion's commit, without what its stages make and without its way to the project's own store."""
    shutil.copytree(folder, scratch, symlinks=True)
    for path in (RAW, MODEL.parent, REPORTS, Path(policy.FILE)):
        if not (scratch / path).resolve().is_relative_to(scratch.resolve()):
            raise ShadowError(f"{path} is a link that leaves the project")
    for path in (MODEL, EXAMPLES, PROFILE, Path("complete")):
        (scratch / path).unlink(missing_ok=True)
    for path in (Path(".dvc"), RAW):
        shutil.rmtree(scratch / path, ignore_errors=True)


def _patch(scratch: Path, days: int) -> None:
    """Let :func:`modelyard.dataset.split` cut at the window; what the commit says of monitoring may be of another version."""
    path = scratch / policy.FILE
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["data"]["period"] = "day"
        content["evaluate"]["holdout_days"] = days
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise ShadowError(f"the champion's commit has no {policy.FILE} that can be read") from None
    content.pop("monitor", None)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def _write_rows(scratch: Path, before: pd.DataFrame, window: pd.DataFrame, end: datetime) -> None:
    import pandas as pd

    (scratch / RAW).mkdir(parents=True)
    last = end - timedelta(days=1)
    pd.concat([before, window], ignore_index=True).to_parquet(scratch / RAW / f"{last:%Y-%m-%d}.parquet", index=False)


def _train(scratch: Path, folder: Path, timeout: float) -> None:
    """Run the stage, and those whose outputs it needs, as DVC would."""
    try:
        commands = store.commands(scratch, STAGE)
    except ModelyardError as error:
        raise ShadowError(error.what.rstrip(".")) from None
    if not commands:
        raise ShadowError(f"dvc.yaml of the champion's commit has no stage {STAGE!r}")
    env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_SHADOWS)}
    (folder / "tmp").mkdir()
    paths = {
        "PYTHONPATH": [str(scratch / "src"), env.get("PYTHONPATH", "")],
        "PATH": [str(Path(sys.executable).parent), env.get("PATH", os.defpath)],
    }
    env |= {name: os.pathsep.join(filter(None, parts)) for name, parts in paths.items()}
    env["TMPDIR"] = str(folder / "tmp")
    for command, inside in commands:
        _run(command, inside, env, folder, timeout)


def _run(command: str, inside: Path, env: dict[str, str], folder: Path, timeout: float) -> None:
    words = folder / "words"
    with words.open("wb") as stderr:
        child = subprocess.Popen(
            ["sh", "-c", command],
            cwd=inside,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # what a stage says there may be commands to the runner
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ShadowError(f"stage {STAGE} took longer than {timeout:g} seconds") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # with all that it started
            child.wait()
    if status:
        lines = words.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ShadowError(f"stage {STAGE} failed: {lines[-1].strip()[:300] if lines else f'exit code {status}'}")


def _after(time: np.ndarray) -> datetime:
    """Midnight after the last of the times."""
    end: datetime = (time.max().astype("datetime64[D]") + np.timedelta64(1, "D")).astype("datetime64[s]").item()
    return end
