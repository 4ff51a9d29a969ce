"""What a client may cost: bodies as they stream, requests at once, exceptions on their way out."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from modelyard.serve.contract import Contract, Limits
from modelyard.serve.guard import HANDLERS, Guard, Intake, Refusal
from modelyard.serve.metrics import Metrics
from modelyard.serve.request import Fault

Message = dict[str, Any]
Endpoint = Callable[[Intake, Request], Coroutine[Any, Any, Response]]


async def echo(intake: Intake, request: Request) -> Response:
    body = await intake.body(request)
    async with intake.turn():
        return PlainTextResponse(f"{len(body)}")


class Service:
    """One endpoint behind the guard, asked without a server."""

    def __init__(self, endpoint: Endpoint = echo, **limits: Any) -> None:
        asked = Limits(**limits)
        self.intake = Intake(asked)
        self.metrics = Metrics(Contract(name="mini", task="binary", sha256="0", columns=[], limits=asked), "")

        async def route(request: Request) -> Response:
            return await endpoint(self.intake, request)

        app = Starlette(routes=[Route("/predict", route, methods=["POST"])], exception_handlers=HANDLERS)
        self._app = Guard(app, self.metrics, frozenset(["/predict"]))

    async def ask(self, *chunks: bytes | float | None, path: str = "/predict", **headers: str) -> Message:
        """Send chunks (a number: seconds to wait; None: hang up); status, headers and body of the answer."""
        coming = self._messages(chunks)
        head = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
        sent: list[Message] = []

        async def receive() -> Message:
            return await anext(coming)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in head.items()],
        }
        await self._app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return {"status": sent[0]["status"], "headers": found, "body": b"".join(part.get("body", b"") for part in sent[1:]).decode()}

    def counted(self, metric: str) -> dict[str, float]:
        """Read the samples of a metric: labels -> value."""
        lines = re.findall(rf"^modelyard_{metric}_total{{(.*)}} (.*)$", self.metrics.text().decode(), re.MULTILINE)
        return {labels: float(value) for labels, value in lines}

    @staticmethod
    async def _messages(chunks: tuple[bytes | float | None, ...]) -> AsyncIterator[Message]:
        for chunk in chunks:
            if chunk is None:
                yield {"type": "http.disconnect"}
            elif isinstance(chunk, bytes):
                yield {"type": "http.request", "body": chunk, "more_body": True}
            else:
                await asyncio.sleep(chunk)
        yield {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()


def ask(service: Service, *chunks: bytes | float | None, **more: Any) -> Message:
    return asyncio.run(service.ask(*chunks, **more))


def test_a_body_in_pieces_is_put_together() -> None:
    """And its size is all that this endpoint tells."""
    assert ask(Service(), b"abc", b"", b"de")["body"] == "5"


def test_a_large_body_is_refused_before_it_is_read() -> None:
    """By its announced length: nothing of it was received."""
    service = Service(body_mb=0.001)

    async def endpoint(intake: Intake, request: Request) -> Response:
        return await echo(intake, request)

    assert ask(service, 60.0, content_length="1001")["status"] == 413
    assert ask(service, b"x" * 1000, content_length="1000")["status"] == 200
    assert ask(service, content_length="9" * 5000)["status"] == 413


def test_a_large_body_without_a_length_is_refused_while_it_streams() -> None:
    """Nothing behind the limit is received; and nothing is left over of it in the books."""
    service = Service(body_mb=0.001)
    answer = ask(service, b"x" * 600, b"x" * 600, 60.0)

    assert answer["status"] == 413
    assert json.loads(answer["body"]) == {"error": "The body is larger than 0.001 MB", "detail": []}
    assert ask(service, b"x" * 1000)["status"] == 200
    assert service.counted("errors") == {'kind="too_large"': 1.0}


def test_a_slow_body_is_given_up() -> None:
    """After the time that the policy allows, however it trickles."""
    answer = ask(Service(seconds=0.1), b"a", 0.06, b"b", 0.06, b"c", 60.0)

    assert answer["status"] == 408


def test_slow_bodies_shut_out_nobody() -> None:
    """A hundred clients that stall do not take the places of those that are there; only the bytes they hold are counted."""
    service = Service(seconds=0.5, concurrency=2, body_mb=0.001)

    async def storm() -> tuple[list[Message], Message]:
        slow = [asyncio.create_task(service.ask(b"x", 60.0)) for _ in range(100)]
        await asyncio.sleep(0.05)
        quick = await service.ask(b"quick")
        return await asyncio.gather(*slow), quick

    stalled, quick = asyncio.run(storm())
    assert quick["status"] == 200
    assert {answer["status"] for answer in stalled} == {408}


def test_bodies_that_stall_cannot_fill_the_memory() -> None:
    """Once those that come hold as much as all places together may, the next is answered 503."""
    service = Service(seconds=0.3, concurrency=2, body_mb=0.001)

    async def storm() -> list[Message]:
        return await asyncio.gather(*(service.ask(b"x" * 900, 60.0) for _ in range(10)))

    statuses = [answer["status"] for answer in asyncio.run(storm())]
    assert sorted(set(statuses)) == [408, 503]
    assert statuses.count(408) == 2
    assert ask(service, b"x")["status"] == 200


def test_too_many_at_once_are_told_to_come_back() -> None:
    """As many as there are places are answered, the others at once with 503 and when to try again; afterwards all is as before."""
    service = Service(concurrency=3)

    async def storm() -> list[Message]:
        return await asyncio.gather(*(service.ask(b"x") for _ in range(50)))

    answers = asyncio.run(storm())
    assert sorted(answer["status"] for answer in answers) == [200] * 3 + [503] * 47
    assert {answer["headers"].get("retry-after") for answer in answers} == {None, "1"}
    assert ask(service, b"x")["status"] == 200
    assert service.counted("errors") == {'kind="overloaded"': 47.0}


def test_who_waited_too_long_is_not_computed() -> None:
    """Nobody may wait for the answer any more; computing it would only keep others waiting."""

    async def slow(intake: Intake, request: Request) -> Response:
        async with intake.turn():
            time.sleep(0.2)
            return PlainTextResponse("done")

    service = Service(slow, seconds=0.5, concurrency=10)

    async def storm() -> list[Message]:
        return await asyncio.gather(*(service.ask() for _ in range(6)))

    statuses = [answer["status"] for answer in asyncio.run(storm())]
    assert statuses == [200, 200, 200, 503, 503, 503]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/vnd.bentoml+pickle"},
        {"content_type": "multipart/form-data"},
        {"content_type": ""},
        {"content_encoding": "gzip"},
    ],
)
def test_only_plain_json_is_taken(headers: dict[str, str]) -> None:
    """Whatever else is 415, before its body is read."""
    assert ask(Service(), 60.0, **headers)["status"] == 415


def test_json_may_name_its_alphabet() -> None:
    """As most clients do."""
    assert ask(Service(), b"{}", content_type="Application/JSON; charset=utf-8")["status"] == 200


def test_an_exception_is_answered_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the client nor the log sees its words, which may hold data; the log has its type and place."""

    async def broken(intake: Intake, request: Request) -> Response:
        raise ValueError(f"cannot use {(await intake.body(request)).decode()}")

    service = Service(broken)
    with caplog.at_level(logging.INFO):
        answer = ask(service, b"secret", x_request_id="r-1")

    assert (answer["status"], json.loads(answer["body"])) == (500, {"error": "The service failed", "detail": []})
    assert "secret" not in answer["body"] + caplog.text
    (line,) = caplog.messages
    assert re.fullmatch(r"The service failed: ValueError in .*test_serve_guard\.py:\d+ \(request r-1\)", line)
    assert "Traceback" not in caplog.text
    assert service.counted("errors") == {'kind="internal"': 1.0}


def test_a_client_that_hangs_up_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The log has no line of it."""
    service = Service()

    assert ask(service, b"x", None)["status"] == 400
    assert caplog.text == ""
    assert service.counted("errors") == {'kind="disconnected"': 1.0}


def test_each_request_has_an_id() -> None:
    """The client's, where it can stand in a log as it is; else one is made."""
    service = Service()

    assert ask(service, x_request_id="a-1:b/2")["headers"]["x-request-id"] == "a-1:b/2"
    made = {ask(service, x_request_id=bad)["headers"]["x-request-id"] for bad in ("", "a b", "x\n", "ä", "y" * 129)}
    assert len(made) == 5
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_paths_are_no_labels() -> None:
    """A scanner that tries a thousand paths adds one line to the metrics."""
    service = Service()
    for number in range(20):
        assert ask(service, path=f"/admin/{number}")["status"] == 404

    assert service.counted("requests") == {'endpoint="other",status="404"': 20.0}


def test_a_refusal_tells_where_the_fault_is() -> None:
    """In the same shape as any other."""

    async def no(intake: Intake, request: Request) -> Response:
        raise Refusal(400, "invalid", "Not valid", [Fault(loc=["rows", 0], type="missing", msg="Field required")])

    answer = ask(Service(no))
    expected = {"error": "Not valid", "detail": [{"loc": ["rows", 0], "type": "missing", "msg": "Field required"}]}
    assert (answer["status"], json.loads(answer["body"])) == (400, expected)
