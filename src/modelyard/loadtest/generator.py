"""Open-loop load: requests go out when they are due, whatever has become of those before.

A closed loop (as many users as are waiting) sends nothing while the service stalls, and so never sees the stall: coordinated omission.
Here request *i* is due at *i / rate* seconds, each is a task of its own, and connections are not limited; latency counts from when a
request was due. How late the generator itself was with sending, and for what share of the time it had nothing to do, is kept beside it: a
busy machine delays it as it delays the service, and a generator that is never idle measures itself.

What was looked at, and why it is not this: locust and molotov send when a user is free (closed loop); vegeta, oha and k6 are right, and are
no packages of this registry that their makers publish; artillery and autocannon need Node.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from modelyard import serving

T = TypeVar("T")
#: Requests that wait at a time; one that is due beyond them is an error, so that a service that hangs costs no file handle more.
MOST_OPEN = 500
#: What may come of much load, on a busy machine of little; anything else is a fault of the service.
OVERLOAD = frozenset({"503", "timeout", "not sent"})

_KINDS = 50  # different bodies
_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Question:
    """A request's body, and the predictions that must come."""

    body: bytes
    predictions: Sequence[float]


@dataclass(frozen=True)
class Sample:
    """One request: when it was due, sent and answered, in seconds; ``error`` is empty where the answer is right."""

    due: float
    sent: float
    done: float
    error: str


@dataclass(frozen=True)
class Offered:
    """One rate, and what became of its requests; ``idle`` is the share of the time in which the generator had nothing to do."""

    rate: float
    samples: Sequence[Sample]
    idle: float


def questions(rows: Sequence[Mapping[str, Any]], predictions: Sequence[float], size: int) -> list[Question]:
    """Bodies of ``size`` rows each, taken in turn."""
    made = []
    for first in range(min(len(rows), _KINDS)):
        places = [(first * size + i) % len(rows) for i in range(size)]
        body = json.dumps({"rows": [rows[place] for place in places]}).encode()
        made.append(Question(body, [predictions[place] for place in places]))
    return made


class Watch(selectors.DefaultSelector):
    """Adds up how long the event loop waits for something to do."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, at most so long."""
        begun = time.perf_counter()
        try:
            return super().select(timeout)
        finally:
            self.seconds += time.perf_counter() - begun


def run(work: Callable[[Watch], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in an event loop whose idling is watched."""
    watch = Watch()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watch)) as runner:
        return runner.run(work(watch))


class Generator:
    """Asks a running service.

    Parameters
    ----------
    session
        See :func:`session`.
    address
        Of the service, without a path.
    """

    def __init__(self, session: aiohttp.ClientSession, address: str, asked: Sequence[Question], watch: Watch) -> None:
        self._session = session
        self._watch = watch
        self._url = f"{address}/predict"
        self._asked = asked
        self._open = 0

    async def offer(self, rate: float, seconds: float) -> Offered:
        """Send ``rate`` requests a second for ``seconds``, and wait for the last answer."""
        samples: list[Sample] = []
        begun, idled = time.perf_counter(), self._watch.seconds
        with _undisturbed():
            start = time.perf_counter() + 0.01
            async with asyncio.TaskGroup() as tasks:
                for number in range(max(1, round(rate * seconds))):
                    due = start + number / rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))  # also where it is late: answers must be read
                    tasks.create_task(self._ask(number, due, samples))
        return Offered(rate, samples, (self._watch.seconds - idled) / (time.perf_counter() - begun))

    async def _ask(self, number: int, due: float, samples: list[Sample]) -> None:
        question = self._asked[number % len(self._asked)]
        sent = time.perf_counter()
        status, content, error = 0, b"", ""
        if self._open >= MOST_OPEN:
            error = "not sent"
        else:
            self._open += 1
            try:
                async with self._session.post(self._url, data=question.body, headers=_HEADERS) as response:
                    status, content = response.status, await response.read()
            except TimeoutError:
                error = "timeout"
            except (aiohttp.ClientConnectorError, ConnectionRefusedError):
                error = "no connection"
            except (aiohttp.ClientError, OSError):
                error = "connection lost"
            finally:
                self._open -= 1
        done = time.perf_counter()
        samples.append(Sample(due, sent, done, error or fault(status, content, question.predictions)))


def fault(status: int, content: bytes, expected: Sequence[float]) -> str:
    """What is wrong with an answer; empty where it is right."""
    if status != 200:
        return str(status)
    try:
        answer = json.loads(content)
        predictions = [float(value) for value in answer["predictions"]]
    except (ValueError, KeyError, TypeError):
        return "no predictions"
    model = answer.get("model")
    if isinstance(model, dict) and model.get("role") == "fallback":
        return "fallback answered"
    return "" if serving.largest_difference(predictions, expected) <= serving.TOLERANCE else "other predictions"


def session(timeout: float) -> aiohttp.ClientSession:
    """As many connections as are needed; those that idle are closed before a service closes them, which would look like its fault."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without our own garbage collection, whose pauses would be counted as the service's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
