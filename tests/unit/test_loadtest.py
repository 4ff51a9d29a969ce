"""``loadtest``: an open loop against small services of our own, slow and failing ones among them; and against a real Bento."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from modelyard import cli, image, loadtest, package, release, schemas
from modelyard.errors import ServiceError
from modelyard.loadtest import generator, report, trial
from modelyard.loadtest.generator import Offered, Question, Sample
from modelyard.loadtest.report import LoadTest
from modelyard.policy import Level
from modelyard.project import EXAMPLES, MODEL, Project

Handler = Callable[[int], Awaitable[web.Response]]

ROWS = [{"x": -1.0}, {"x": 0.25}, {"x": 2.0}]
RIGHT = [0.1, 0.2, 0.3]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WARM_UP", 0.2)
    monkeypatch.setattr(trial, "STEP", 0.6)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.json"
    path.write_text(json.dumps({"rows": ROWS, "predictions": RIGHT}))
    return path


def right(number: int) -> web.Response:
    """The answer to the questions of one row, which come in turn."""
    return web.json_response({"predictions": [RIGHT[number % 3]], "model": {"role": "champion"}})


async def quick(number: int) -> web.Response:
    return right(number)


@contextmanager
def service(handler: Handler, sha256: str = "") -> Iterator[str]:
    """A service in a thread; the handler gets the place of the row that is asked."""

    async def predict(request: web.Request) -> web.Response:
        rows = (await request.json())["rows"]
        return await handler(ROWS.index(rows[0]))

    async def about(_: web.Request) -> web.Response:
        return web.json_response({"name": "mini", "version": "7", "sha256": sha256, "provider": "CPUExecutionProvider", "role": "champion"})

    loop, port, ended = asyncio.new_event_loop(), [0], asyncio.Event()
    ready = threading.Event()

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/predict", predict), *([web.get("/model", about)] if sha256 else [])])
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port[0] = runner.addresses[0][1]
        ready.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def offer(address: str, rate: float, seconds: float, timeout: float = 15.0) -> Offered:
    async def main(watch: generator.Watch) -> Offered:
        async with generator.session(timeout) as session:
            return await generator.Generator(session, address, generator.questions(ROWS, RIGHT, 1), watch).offer(rate, seconds)

    return generator.run(main)


def offered(took: Sequence[float], *, late: float = 0.0, errors: Sequence[str] = (), idle: float = 0.9) -> Offered:
    """Requests that were due each 10 ms, sent so late, and answered after these seconds."""
    kinds = [*errors, *[""] * (len(took) - len(errors))]
    samples = [Sample(i / 100, i / 100 + late, i / 100 + seconds, kind) for i, (seconds, kind) in enumerate(zip(took, kinds, strict=True))]
    return Offered(100, samples, idle)


def level(**given: Any) -> Level:
    return Level(**{"rate": 100, "seconds": 1, "p99_ms": 200, **given})


def test_percentiles_are_those_counted_by_hand() -> None:
    """Of 1, 2, ..., 100 ms the 99th percentile is 99 ms: 99 of 100 are not above it."""
    found = report.judge(offered([ms / 1000 for ms in range(100, 0, -1)]), level())

    assert found.latency
    assert found.latency.model_dump() == pytest.approx({"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100})
    assert found.result == "kept"


def test_a_stall_shows_in_the_percentiles() -> None:
    """A service that stalls for one second makes all wait that were due meanwhile; who waits for each answer sees one slow one."""
    count, end = 0, 0.0

    async def stalling(number: int) -> web.Response:
        nonlocal count, end
        count += 1
        if count == 20:
            end = time.monotonic() + 1
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        return right(number)

    with service(stalling) as address:
        opened = offer(address, 50, 3)
        count = 0
        closed = [sample for _ in range(40) for sample in offer(address, 1, 1).samples]

    slow = [sample for sample in opened.samples if sample.done - sample.due > 0.5]
    assert len(opened.samples) == 150
    assert len(slow) >= 24  # those due in the first half of that second
    assert 1 <= sum(sample.done - sample.sent > 0.5 for sample in closed) < 10
    found = report.judge(opened, level(rate=50))
    assert found.latency
    assert found.latency.p99_ms > 900
    assert found.result != "kept"


def test_requests_go_out_on_time_whatever_becomes_of_them() -> None:
    """Each is due at its place in the schedule, and none waits for another."""

    async def slow(number: int) -> web.Response:
        await asyncio.sleep(0.5)
        return right(number)

    with service(slow) as address:
        found = sorted(offer(address, 100, 1).samples, key=lambda sample: sample.due)

    gaps = [b.due - a.due for a, b in itertools.pairwise(found)]
    assert gaps == pytest.approx([0.01] * 99, abs=1e-6)
    assert all(sample.done - sample.due >= 0.5 for sample in found)
    assert found[-1].done - found[0].due < 25  # one by one they would take 50 s


def test_errors_are_counted_by_their_kind() -> None:
    """Statuses, other predictions, the fallback, no predictions at all, time-outs."""

    async def failing(number: int) -> web.Response:
        count = counts[number] = counts.get(number, 0) + 1
        if number == 0 and count <= 3:
            return web.Response(status=500)
        if number == 0 and count <= 5:
            return web.Response(status=503)
        if number == 1 and count <= 4:
            return web.json_response({"predictions": [0.9]})
        if number == 1 and count <= 6:
            return web.json_response({"predictions": [RIGHT[1]], "model": {"role": "fallback"}})
        if number == 2 and count == 1:
            return web.Response(text="<html>")
        if number == 2 and count == 2:
            await asyncio.sleep(4)
        return right(number)

    counts: dict[int, int] = {}
    with service(failing) as address:
        found = report.judge(offer(address, 60, 1, timeout=2), level(rate=60))

    expected = {"500": 3, "503": 2, "other predictions": 4, "fallback answered": 2, "no predictions": 1, "timeout": 1}
    assert found.errors == expected
    assert (found.requests, found.failed, found.result) == (60, 13, "missed")


def test_a_service_that_hangs_does_not_take_all_file_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due while too many wait is an error, not one more connection."""
    monkeypatch.setattr(generator, "MOST_OPEN", 20)

    async def hanging(number: int) -> web.Response:
        await asyncio.sleep(4)
        return right(number)

    with service(hanging) as address:
        found = report.judge(offer(address, 100, 1, timeout=2), level())

    assert found.errors == {"not sent": 80, "timeout": 20}
    assert found.latency is None


@pytest.mark.parametrize(
    ("took", "late", "errors", "result"),
    [
        ([0.1] * 100, 0.0, [], "kept"),
        ([0.1] * 98 + [0.3] * 2, 0.0, [], "missed"),
        ([0.1] * 99 + [0.3], 0.0, [], "kept"),  # 99 of 100 are fast enough
        ([0.1] * 98 + [0.3] * 2, 0.1, [], "unclear"),
        ([0.1] * 98 + [0.3] * 2, 0.01, [], "missed"),  # by what is no excuse
        ([0.1] * 98 + [0.7] * 2, 0.1, [], "missed"),  # too little of an excuse
        ([0.3] * 100, 0.1, [], "missed"),  # slow in the median
        ([0.15] * 100, 0.1, [], "kept"),  # late, and fast enough all the same
        ([0.1] * 100, 0.0, ["503"], "missed"),
        ([0.1] * 100, 0.1, ["503"], "missed"),
        ([0.1] * 100, 0.1, ["timeout"] * 100, "missed"),
        ([0.3] * 100, 0.25, ["not sent"], "unclear"),  # so late that many were due at once
        ([0.3] * 100, 0.25, [], "missed"),  # and slow in the median all the same
    ],
)
def test_a_round_is_judged(took: list[float], late: float, errors: list[str], result: str) -> None:
    """By p99 and errors; a generator that is late excuses what it can explain."""
    assert report.judge(offered(took, late=late, errors=errors), level()).result == result


def test_a_generator_that_is_never_idle_measures_itself() -> None:
    """Whatever it missed; what it kept, it kept all the same."""
    assert report.judge(offered([0.3] * 100, errors=["not sent"] * 50, idle=0.05), level()).result == "unclear"
    assert report.judge(offered([0.1] * 100, idle=0.05), level()).result == "kept"


def test_idling_is_measured() -> None:
    """Waiting for answers is idling; making the generator work is not."""

    async def main(watch: generator.Watch) -> tuple[float, float]:
        await asyncio.sleep(0.3)
        waited = watch.seconds
        end = time.perf_counter() + 0.3
        while time.perf_counter() < end:
            await asyncio.sleep(0)
        return waited, watch.seconds - waited

    waited, busy = generator.run(main)

    assert waited > 0.25
    assert busy < 0.2


KEPT = offered([0.1] * 100)
SLOW = offered([0.3] * 100)
LATE = offered([0.1] * 90 + [0.3] * 10, late=0.1)
BROKEN = offered([0.1] * 100, errors=["500"])
BUSY = offered([0.1] * 100, errors=["503"])


@pytest.mark.parametrize(
    ("rounds", "verdict", "words"),
    [
        ([KEPT], "pass", ""),
        ([SLOW, LATE, KEPT], "pass", ""),
        ([BUSY, KEPT], "pass", ""),
        ([SLOW, SLOW, SLOW], "fail", "99th percentile is 300.0 ms at 100 requests a second; 200 ms are allowed"),
        ([LATE, SLOW, LATE], "fail", "300.0 ms"),
        ([LATE, LATE, LATE], "unknown", "100 ms late .* idle for 90% of the time: this machine is too busy to tell"),
        ([BUSY, BUSY, BUSY], "fail", r"1 of 100 requests failed \(1 x 503\); 0 % may"),
        ([BROKEN, KEPT], "fail", r"1 of 200 requests failed \(1 x 500\)"),
    ],
)
def test_the_verdict_of_all_rounds(rounds: list[Offered], verdict: str, words: str) -> None:
    """One round that keeps the level is enough, unless something failed that no load explains."""
    judged = [report.judge(each, level()) for each in rounds]

    found, reasons = report.verdict(judged, level())
    assert found == verdict
    assert len(reasons) == (verdict != "pass")
    assert re.search(words, " ".join(reasons))


@pytest.mark.parametrize(
    ("asked", "knee", "peak_mb", "verdict", "words"),
    [
        ({}, 50, 900, "pass", ""),  # nothing is asked for
        ({"knee": 50, "memory_mb": 900}, 50, 900, "pass", ""),
        ({"knee": 60}, 50, 900, "fail", "kept up to 50 requests a second; 60 are asked for[.]"),
        ({"knee": 60}, None, 900, "fail", "kept up to 0 requests a second"),
        ({"memory_mb": 500}, 50, 900, "fail", "3 processes held 900 MB; 500 MB are allowed"),
        ({"knee": 60, "memory_mb": 500}, 50, 900, "fail", "60 are asked for[.] .*500 MB are allowed"),
    ],
)
def test_throughput_and_memory_count_where_the_level_names_them(
    asked: dict[str, float], knee: float | None, peak_mb: float, verdict: str, words: str
) -> None:
    """A round at the rate is kept; the knee and the memory decide."""
    found, reasons = report.verdict(
        [report.judge(KEPT, level())],
        level(**asked),
        report.Knee(rate=knee, ended_by="service", steps=[]),
        report.Memory(processes=3, start_mb=400, peak_mb=peak_mb, end_mb=500),
    )

    assert found == verdict
    assert len(reasons) == len(re.findall("(?:asked|allowed)", words) or ([words] if words else []))
    assert re.search(words, " ".join(reasons))


@pytest.mark.parametrize("ended_by", ["generator", "ramp"])
def test_a_knee_that_was_not_reached_for_lack_of_load_is_unknown(ended_by: Literal["generator", "ramp"]) -> None:
    """The service was not what gave in."""
    found = report.verdict([report.judge(KEPT, level())], level(knee=60), report.Knee(rate=50, ended_by=ended_by, steps=[]))

    assert found == (
        "unknown",
        ["The level is kept up to 50 requests a second; 60 are asked for, and this machine can send no more. Run it again."],
    )


def test_errors_that_may_be_are_no_failure() -> None:
    """serving.level.errors is a share of the requests."""
    judged = report.judge(BROKEN, level(errors=0.01))

    assert judged.result == "kept"
    assert report.verdict([judged], level(errors=0.01))[0] == "pass"


@pytest.mark.parametrize(
    ("size", "asked"), [(1, [[0], [1], [2]]), (2, [[0, 1], [2, 0], [1, 2]]), (4, [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]])]
)
def test_rows_are_asked_in_turn(size: int, asked: list[list[int]]) -> None:
    """Each question holds as many rows as the level says, and the predictions recorded for them."""
    expected = [Question(json.dumps({"rows": [ROWS[i] for i in each]}).encode(), [RIGHT[i] for i in each]) for each in asked]

    assert generator.questions(ROWS, RIGHT, size) == expected


def test_the_knee_lies_where_the_service_ends() -> None:
    """A service that takes 10 ms for each, one after the other, bears at most 100 a second, and as much more as may wait at the end."""
    turn = asyncio.Lock()

    async def one_by_one(number: int) -> web.Response:
        async with turn:
            await asyncio.sleep(0.01)
        return right(number)

    asked = level(rate=10, p99_ms=200, knee=10)  # named, so it is looked for
    with service(one_by_one) as address:
        course = trial.Trial(address, generator.questions(ROWS, RIGHT, 1), asked, None)
        course.run(ramp=False)

    assert course.verdict == "pass"
    assert course.knee
    assert course.knee.rate
    assert 10 <= course.knee.rate <= 100 * (1 + 0.2 / trial.STEP)
    assert course.knee.ended_by in ("service", "generator")
    kept = {step.rate for step in course.knee.steps if step.result == "kept"} | {10}
    missed = {step.rate for step in course.knee.steps} - kept
    assert course.knee.rate == pytest.approx(max(kept), abs=0.1)
    assert max(kept) < min(missed) <= trial.CLOSE * max(kept)


def test_a_level_that_is_missed_is_searched_downwards() -> None:
    """Three rounds are tried, then lower rates, until one is borne."""
    turn = asyncio.Lock()

    async def one_by_one(number: int) -> web.Response:
        async with turn:
            await asyncio.sleep(0.02)
        return right(number)

    with service(one_by_one) as address:
        course = trial.Trial(address, generator.questions(ROWS, RIGHT, 1), level(rate=100, p99_ms=100), None)
        course.run(ramp=True)

    assert (course.verdict, len(course.rounds)) == ("fail", 3)
    assert course.knee
    assert course.knee.rate
    assert course.knee.rate < 60


def test_a_broken_service_is_not_pressed_further() -> None:
    """One round shows what no load explains; neither two more nor the ramp would change it."""

    async def failing(number: int) -> web.Response:
        return web.Response(status=500)

    with service(failing) as address:
        course = trial.Trial(address, generator.questions(ROWS, RIGHT, 1), level(rate=50), None)
        course.run(ramp=True)

    assert (course.verdict, len(course.rounds), course.knee) == ("fail", 1, None)


def test_a_ramp_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no end is in sight: then it says that it was not taken further."""
    monkeypatch.setattr(trial, "RAMP", 0.5)
    with service(quick) as address:
        course = trial.Trial(address, generator.questions(ROWS, RIGHT, 1), level(rate=5, p99_ms=5000), None)
        course.run(ramp=True)

    assert course.knee
    assert (course.knee.ended_by, [step.rate for step in course.knee.steps]) == ("ramp", [10])
    assert course.knee.rate == 10


def test_the_report_names_verdict_model_and_figures(examples: Path, tmp_path: Path) -> None:
    """The summary's first line is the verdict with its figure; the JSON file fits its schema."""
    with service(quick, sha256="a" * 64) as address:
        outcome = loadtest.run(tmp_path, level(p99_ms=5000, memory_mb=1), examples, service=address, ramp=False)

    written = json.loads((tmp_path / "reports/loadtest.json").read_text())
    assert (outcome.verdict, outcome.exit_code, outcome.outputs["failed"], outcome.outputs["knee"]) == ("pass", 0, "0", "")
    assert outcome.summary.startswith("**loadtest: pass**, 100 requests a second of 1 row: p99 ")
    assert "none of 100 failed; 5000 ms are allowed" in outcome.summary.splitlines()[0]
    assert "Model mini 7 (aaaaaaaaaaaa) on CPUExecutionProvider." in outcome.summary
    assert "serving.level.memory_mb is not checked" in outcome.summary  # it runs elsewhere
    assert (written["service"], written["memory"], written["model"]["sha256"]) == (address, None, "a" * 64)
    assert list(Draft202012Validator(json.loads((schemas.FOLDER / "loadtest.schema.json").read_text())).iter_errors(written)) == []


def test_another_model_is_not_tested(examples: Path, tmp_path: Path) -> None:
    """Else the report would speak of what nobody releases."""
    with service(quick, sha256="a" * 64) as address, pytest.raises(ServiceError, match="has the model aaaaaaaaaaaa, not bbbbbbbbbbbb"):
        loadtest.run(tmp_path, level(), examples, service=address, sha256="b" * 64)


def test_a_service_that_dies_half_way_fails(examples: Path, tmp_path: Path) -> None:
    """What is due afterwards finds no connection; the test ends all the same."""
    code = (
        "import http.server, json, os\n"
        "count = 0\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def log_message(self, *_): pass\n"
        "    def do_GET(self): self.send_error(404)\n"
        "    def do_POST(self):\n"
        "        global count\n"
        "        count += 1\n"
        "        if count > 60: os._exit(1)\n"
        "        x = json.loads(self.rfile.read(int(self.headers['content-length'])))['rows'][0]['x']\n"
        f"        body = json.dumps({{'predictions': [dict(zip((-1.0, 0.25, 2.0), {RIGHT}))[x]]}}).encode()\n"
        "        self.send_response(200); self.send_header('content-length', str(len(body))); self.end_headers(); self.wfile.write(body)\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = f"http://127.0.0.1:{int(process.stdout.readline())}"
        outcome = loadtest.run(tmp_path, level(rate=50, seconds=2), examples, service=address, ramp=False)

    assert process.returncode == 1
    assert (outcome.verdict, outcome.exit_code) == ("fail", 10)
    assert "no connection" in outcome.problems[0]


def test_where_no_service_answers_it_is_told(tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Exit code 1 in words; a service level that makes no sense is 2."""
    monkeypatch.chdir(tmp_path)
    for args, code, words in [
        (["--url", "http://127.0.0.1:9", "--examples", "examples.json"], 1, "No service answers at http://127.0.0.1:9"),
        (["--url", "127.0.0.1:9", "--examples", "examples.json"], 2, "is no address"),
        (["--url", "http://127.0.0.1:9", "--examples", "examples.json", "--rate", "-1"], 2, "rate: "),
        ([], 2, "not in a Modelyard project"),
    ]:
        with pytest.raises(SystemExit) as left:
            cli.main(["loadtest", *args])

        assert left.value.code == code
        assert words in capfd.readouterr().err


def test_outside_of_a_project_a_service_is_tested_by_options(
    tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Rate, rows, time and limits come from the command line; a negative verdict ends with 10."""

    async def slow(number: int) -> web.Response:
        await asyncio.sleep(0.05)
        return right(number)

    monkeypatch.chdir(tmp_path)
    args = ["--examples", examples.name, "--rate", "20", "--seconds", "1", "--no-knee"]
    with service(slow) as address:
        with pytest.raises(SystemExit) as failed:
            cli.main(["loadtest", "--url", address, *args, "--p99-ms", "20"])
        assert "**loadtest: fail**, 20 requests a second" in capfd.readouterr().out
        with pytest.raises(SystemExit) as passed:
            cli.main(["loadtest", "--url", address, *args, "--p99-ms", "5000"])

    assert (failed.value.code, passed.value.code) == (10, 0)
    assert "**loadtest: pass**" in capfd.readouterr().out


@pytest.fixture
def built(trained: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose Bento is built."""
    monkeypatch.setenv(image.VARIABLE, "none")
    package.run(trained)
    return trained


def test_the_packaged_service_is_started_tested_and_stopped(built: Project) -> None:
    """A real Bento: memory and work of its processes are measured, and none is left."""
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    sha256 = release.sha256(built.root / MODEL)
    outcome = loadtest.run(
        built.root, level(rate=20, p99_ms=10_000), built.root / EXAMPLES, service=loadtest.packaged(built.root), ramp=False, sha256=sha256
    )

    found = LoadTest.model_validate_json((built.root / "reports/loadtest.json").read_bytes())
    assert outcome.verdict == "pass", outcome.summary
    assert found.service.startswith("mini:")
    assert found.memory
    assert found.memory.processes >= 2
    assert 20 < found.memory.start_mb <= found.memory.peak_mb
    assert found.rounds[-1].cores
    assert loadtest.smoke(built.root, level(rate=20, p99_ms=0.01), built.root / EXAMPLES, loadtest.packaged(built.root)).startswith(
        "loadtest: fail: The 99th percentile is "
    )
    assert {each.pid for each in psutil.Process().children(recursive=True)} == before


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_killed_half_way_it_leaves_no_server(built: Project, sign: signal.Signals) -> None:
    """Neither a cancelled job nor one that is killed leaves the service behind."""
    command = [sys.executable, "-c", "from modelyard.cli import main; main()", "loadtest", "--seconds", "60", "--no-knee"]
    with subprocess.Popen(command, cwd=built.root, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr
        assert any("requests a second for 60 s" in line for line in started.stderr)  # read until it says so
        process = psutil.Process(started.pid)
        below = process.children(recursive=True)
        assert len(below) >= 3  # supervisor, worker, and who watches over us
        process.send_signal(sign)
    _, left = psutil.wait_procs(below, timeout=30)

    assert left == []
