"""The service as `bentoml serve` starts it: hostile clients, crowds, signals, and a start that must be refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from unit.mini_service import ROW, expected, samples, write_model, write_package

from modelyard import processes
from modelyard.serve.contract import FILE

pytestmark = pytest.mark.slow

SECONDS = 1.0  # limits.seconds
JSON = {"content-type": "application/json"}
GOOD = json.dumps({"rows": [ROW]}).encode()


@dataclass
class Server:
    """A running `bentoml serve`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        until(lambda: httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200)


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, httpx.HTTPError):
            if happened():
                return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@contextmanager
def serve(folder: Path, **environment: str) -> Iterator[Server]:
    """Start the package ``served`` of a folder; whatever is left of it is killed at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True", "NO_COLOR": "1", "MODELYARD_WORKERS": "1"}
    command = [sys.executable, "-m", "bentoml", "serve", "served.service:Service", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "out.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**env, **environment}, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    with processes.ended_with_us(process):
        yield Server(process, port, log)


def prepare(folder: Path, **changes: Any) -> Path:
    write_package(folder, "served")
    write_model(folder / "models", **{"limits": {"seconds": SECONDS, "concurrency": 8}, **changes})
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker that bears eight requests at a time."""
    with serve(prepare(tmp_path_factory.mktemp("server"))) as running:
        running.wait_until_ready()
        yield running


def raw(server: Server, *parts: bytes | float) -> bytes:
    """Send bytes as they are (a number: seconds to wait) on a connection of its own; what comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for part in parts:
            if isinstance(part, bytes):
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(part)
            else:
                time.sleep(part)
        with suppress(ConnectionResetError):
            return connection.recv(65536)
    return b""


def head(length: int | None, *more: bytes, path: bytes = b"/predict", media: bytes = b"application/json") -> bytes:
    size = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"\r\n".join([b"POST %s HTTP/1.1" % path, b"host: x", b"content-type: %s" % media, size, *more, b"", b""])


def row(**changes: Any) -> bytes:
    return json.dumps({"rows": [{**ROW, **changes}]}).encode()


SECRET = "secret-4711"

HOSTILE: dict[str, tuple[bytes, str, set[int]]] = {
    "a text for a number": (row(x=SECRET), "application/json", {400}),
    "a number for a text": (row(group=4711), "application/json", {400}),
    "a column more": (row(**{SECRET: SECRET}), "application/json", {400}),
    "NaN": (row(x=float("nan")), "application/json", {400}),
    "more than a float": (row().replace(b"0.5", b"1e999"), "application/json", {400}),
    "a number of a million digits": (row().replace(b"0.5", b"9" * 900_000), "application/json", {400}),
    "deep nesting": (b"[" * 500_000, "application/json", {400}),
    "deep objects": (b'{"rows":' * 100_000, "application/json", {400}),
    "no UTF-8": (b'{"rows": [{"group": "\xff\xfe"}]}', "application/json", {400}),
    "nothing": (b"", "application/json", {400}),
    "1,001 rows": (json.dumps({"rows": [ROW] * 1001}).encode(), "application/json", {400}),
    "10 MB": (b'{"rows": ["' + SECRET.encode() * 900_000 + b'"]}', "application/json", {413}),
    "a broken multipart": (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\nsecret-4711", "multipart/form-data; boundary=b", {415}),
    "a multipart without its boundary": (SECRET.encode(), "multipart/form-data", {415}),
    "a pickle": (b"\x80\x04\x95secret-4711.", "application/vnd.bentoml+pickle", {415}),
    "a form": (b"rows=secret-4711", "application/x-www-form-urlencoded", {415}),
    "a text": (GOOD, "text/plain", {415}),
    "100,000 unknown keys": (b"{" + b",".join(b'"s%d":1' % n for n in range(80_000)) + b"}", "application/json", {400}),
    "what makes the model fail": (row(group="secret-fails"), "application/json", {503}),
}


@pytest.mark.parametrize("path", ["/predict", "/predict_columns"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_and_leaves_no_trace(server: Server, name: str, path: str) -> None:
    """With the status that fits, an answer that holds nothing of it, no line in the log; and the next one is answered."""
    body, media, allowed = HOSTILE[name]
    before = server.said()
    answer = httpx.post(server.url + path, content=body, headers={"content-type": media}, timeout=30)

    assert answer.status_code in (allowed if path == "/predict" else {*(allowed - {503}), 400})
    assert "secret" not in answer.text.replace(f'["rows",0,"{SECRET}"]', "").replace(f'["{SECRET}"]', "")
    news = server.said().removeprefix(before)
    assert "Traceback" not in news
    assert "secret" not in news
    assert len(news.splitlines()) <= (1 if 503 in allowed else 0)
    assert httpx.post(f"{server.url}/predict", content=GOOD, headers=JSON).json()["predictions"] == pytest.approx([expected(0.5)])


def test_a_body_in_endless_chunks_is_cut_off(server: Server) -> None:
    """Without a length; the memory of the worker does not grow by what is sent."""
    (worker,) = server.workers
    before = worker.memory_info().rss
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    assert raw(server, head(None), chunk * 160).startswith(b"HTTP/1.1 413")
    assert worker.memory_info().rss - before < 8e6


def test_a_slow_body_is_given_up(server: Server) -> None:
    """Byte after byte, or none at all."""
    begun = time.monotonic()

    assert raw(server, head(100), b"{", 0.3, b'"', 0.3, b"r").startswith(b"HTTP/1.1 408")
    assert raw(server, head(100)).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - begun < 2 * SECONDS + 5


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=range(5),
)
def test_what_is_no_http_is_no_failure_of_the_server(server: Server, sent: bytes) -> None:
    """It is answered 400, or nothing."""
    answer = raw(server, sent)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{server.url}/livez").status_code == 200


def test_a_crowd_is_answered_or_told_to_come_back(server: Server) -> None:
    """Three hundred at once: 200, or 503 with Retry-After; some of each; and while they come the probes are answered."""

    async def one(body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head(len(body), b"connection: close") + body)
        answer = await reader.read()
        writer.close()
        return answer

    async def crowd() -> list[bytes]:
        body = json.dumps({"rows": [ROW] * 500}).encode()
        return await asyncio.gather(*(one(body) for _ in range(300)))

    answers = asyncio.run(crowd())
    statuses = {answer[9:12] for answer in answers}
    assert statuses == {b"200", b"503"}
    assert all(b"retry-after: 1" in answer for answer in answers if answer[9:12] == b"503")
    assert httpx.post(f"{server.url}/predict", content=GOOD, headers=JSON).status_code == 200


def test_after_all_that(server: Server) -> None:
    """Metrics have small sets of labels; nothing that was sent, and no traceback, stands in what the service printed."""
    for number in range(30):
        httpx.get(f"{server.url}/{SECRET}/{number}")
    text = httpx.get(f"{server.url}/metrics").text
    found = samples(text)

    assert "secret" not in text + server.said()
    assert "Traceback" not in server.said()
    assert found['requests_total{endpoint="other",status="404"}'] >= 30
    assert {"/predict", "/predict_columns", "other"} >= {
        name.split('"')[1] for name in found if name.startswith("requests_total") and "40" in name
    }
    assert found["prediction_count"] > 0


def test_a_stop_waits_for_what_has_begun(tmp_path: Path) -> None:
    """SIGTERM in the middle of a request: it is answered, the log has its line, and the service ends with 0."""
    with serve(prepare(tmp_path, limits={"seconds": 10}), MODELYARD_LOG=str(tmp_path / "log")) as server:
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(head(len(GOOD)) + GOOD[:10])
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(GOOD[10:])
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=30) == 0
    (log,) = (tmp_path / "log").glob("*.jsonl")
    assert len(log.read_text().splitlines()) == 1


def test_a_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    """And one that must not start any more ends the whole service, with 1 and one line: no restart for ever."""
    with serve(prepare(tmp_path)) as server:
        server.wait_until_ready()
        (first,) = server.workers
        first.kill()
        until(lambda: any(worker.pid != first.pid for worker in server.workers))
        server.wait_until_ready()
        assert httpx.post(f"{server.url}/predict", content=GOOD, headers=JSON).status_code == 200

        (tmp_path / "models" / FILE).write_text("{")
        for worker in server.workers:
            worker.kill()
        assert server.process.wait(timeout=60) == 1
        assert server.said().count("refused to start: ") == 1
        assert "serving.json is damaged" in server.said()
        assert "Traceback" not in server.said()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "0" * 64}, "serving.json names 000000000000"),  # seen before any worker is started
        ({"model": {"reads": "y"}}, "reads a column that serving.json does not hold: 'y'"),  # seen by the worker
    ],
)
def test_a_start_that_must_be_refused_ends_with_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Exit code 1, no traceback, no restart."""
    with serve(prepare(tmp_path, **changes)) as server:
        assert server.process.wait(timeout=60) == 1

    lines = [line for line in server.said().splitlines() if "INFO" not in line]
    assert len(lines) == 1
    assert words in lines[0]
