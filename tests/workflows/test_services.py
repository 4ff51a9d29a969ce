"""A real MLflow server and a DVC remote of one's own take the state branch's place, by configuration alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from workflows.conftest import Scene
from workflows.yard import APRIL

from modelyard import registry
from modelyard.project import MODEL

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, folder = f"http://127.0.0.1:{port}", tmp_path / "server"
    folder.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not _answers(address):
            assert process.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):
            return True
    except OSError:
        return False


def test_train_and_promote_on_real_services(fresh: Scene, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training registers on the server and delivers to the remote; the merged release is verified against both; no state branch."""
    yard = fresh.yard.copy(tmp_path / "yard")
    remote = tmp_path / "remote"
    remote.mkdir()
    yard.edit(".dvc/config", "remote = state", "remote = ours")
    with (yard.root / ".dvc/config").open("a") as config:
        config.write(f"['remote \"ours\"']\n    url = {remote}\n")
    yard.put("params.yaml", "train.iterations", 20)
    yard.commit("Real services")
    env = {"MODELYARD_ENV": f"# one secret for all\nMLFLOW_TRACKING_URI={server}"}

    run = yard.happen("workflow_dispatch", "train", APRIL, env=env)
    assert run.conclusion == "success", run.log
    before = yard.approve()
    yard.push()
    run = yard.happen("push", "promote", before=before, env=env)
    assert (run.conclusion, run.verdict) == ("success", "live"), run.log

    assert set(yard.refs()) == {"main", "modelyard/release"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    champion = registry.get_alias(registry.connect(None), "flights", "champion")
    assert champion is not None
    assert (champion.version, champion.sha256) == ("1", yard.record().model.sha256)
    before_monitor = yard.refs()
    run = yard.happen("schedule", "monitor", APRIL, env=env)
    assert run.conclusion == "success", run.log
    assert run.verdict == "healthy"
    assert yard.refs() == before_monitor
    assert yard.command("pull", MODEL.as_posix(), program="dvc").returncode == 0
