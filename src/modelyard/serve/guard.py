"""Between the network and the model: what a client may cost, and what it is told when that is too much.

Nothing of a request's content reaches a log: a fault is told to whoever sent it, and counted by its kind.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.serve.contract import Limits
from modelyard.serve.metrics import Metrics
from modelyard.serve.request import Fault

#: Below BentoML's logger, whose handlers a worker has.
logger = logging.getLogger("bentoml.modelyard")

_REQUEST_ID = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)  # what may stand in a log without being quoted
_RETRY = {"Retry-After": "1"}


class Refusal(HTTPException):
    """A request that is not answered, and why.

    Parameters
    ----------
    kind
        Its label in ``/metrics``.
    words
        For the client; they never hold a value of the request.
    """

    def __init__(self, status: int, kind: str, words: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(status, words, _RETRY if status == 503 else None)
        self.kind = kind
        self.faults = faults


async def _refused(request: Request, error: Exception) -> Response:
    request.state.error = getattr(error, "kind", "no_endpoint")
    status = getattr(error, "status_code", 500)
    faults = [fault.model_dump() for fault in getattr(error, "faults", ())]
    return JSONResponse({"error": getattr(error, "detail", ""), "detail": faults}, status, getattr(error, "headers", None))


async def _failed(request: Request, error: Exception) -> Response:
    request.state.error = "internal"
    log_failure("The service failed", error, request.state.request_id)
    return JSONResponse({"error": "The service failed", "detail": []}, 500)


#: For Starlette: every answer but a good one is ``{"error": words, "detail": [{loc, type, msg}]}``.
HANDLERS = {HTTPException: _refused, Exception: _failed}


class Intake:
    """Takes requests in, as many as one worker can bear at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = int(limits.body_mb * 1e6)
        self._held = 0  # bytes of bodies that are still coming
        self._busy = 0  # requests whose bodies have come

    async def body(self, request: Request) -> bytes:
        """The body of a request, which is JSON and small, and comes in time.

        Raises
        ------
        Refusal
            It is not, or does not; or bodies that are still coming take too much memory.
        """
        self._is_welcome(request)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._held += len(chunk)
                    if size > self._most:
                        raise self._too_large()
                    # Slow clients cost memory, so their bytes are counted; were they counted themselves, a few would shut out all.
                    if self._held > self._most * self._limits.concurrency:
                        raise Refusal(503, "overloaded", "Too many requests are coming in")
                    chunks.append(chunk)
        except ClientDisconnect:
            raise Refusal(400, "disconnected", "The body did not come") from None
        except TimeoutError:
            raise Refusal(408, "too_slow", f"The body did not come within {self._limits.seconds:g} s") from None
        finally:
            self._held -= size
        return b"".join(chunks)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the requests before this one.

        Raises
        ------
        Refusal
            Too many wait already, or this one has waited too long.
        """
        if self._busy >= self._limits.concurrency:
            raise Refusal(503, "overloaded", "Too many requests at once")
        begun = time.perf_counter()
        self._busy += 1
        try:
            await asyncio.sleep(0)  # all that has arrived is counted before the first is computed: else none would ever be too many
            if time.perf_counter() - begun > self._limits.seconds:
                raise Refusal(503, "overloaded", f"Its turn did not come within {self._limits.seconds:g} s")
            yield
        finally:
            self._busy -= 1

    def _is_welcome(self, request: Request) -> None:
        media, _, _ = request.headers.get("content-type", "application/json").partition(";")
        if media.strip().lower() != "application/json":
            raise Refusal(415, "media_type", "The body must be application/json")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "media_type", "The body must not be compressed")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            raise self._too_large()

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"The body is larger than {self._limits.body_mb:g} MB")


class Guard:
    """ASGI middleware: gives each request an id, counts it, and lets no exception out (a server logs those with all they hold)."""

    def __init__(self, app: ASGIApp, metrics: Metrics, endpoints: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16).encode()
        state = scope["state"] = {"request_id": request_id.decode(), "error": ""}
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        with suppress(Exception):  # answered, and raised again by Starlette
            await self._app(scope, receive, answer)
        endpoint = scope["path"] if scope["path"] in self._endpoints else "other"
        self._metrics.request(endpoint, status, time.perf_counter() - begun)
        if state["error"]:
            self._metrics.error(state["error"])


def log_failure(what: str, error: Exception, request_id: str) -> None:
    """One line: what failed, and where. Not the exception's words, which may hold a value of the request."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("%s: %s in %s:%s (request %s)", what, type(error).__name__, last.filename, last.lineno, request_id)
