"""The course of a load test: warm-up, rounds at the level's rate, ramp to the knee; memory and work of the service meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from modelyard.console import step
from modelyard.loadtest import generator, report
from modelyard.loadtest.generator import Generator, Question
from modelyard.loadtest.report import Knee, Memory, Round, Verdict
from modelyard.loadtest.resources import Resources
from modelyard.policy import Level

#: Rounds at the level's rate, until one keeps it.
ROUNDS = 3
#: Seconds before the first round, of each step of the ramp, and after which that begins no other.
WARM_UP, STEP, RAMP = 2.0, 2.0, 60.0
#: How steep the ramp is, and how near the highest rate that is kept and the lowest that is not must come.
GROWTH, CLOSE = 2.0, 1.2
#: Seconds after which a request is given up.
TIMEOUT = 15.0
#: Seconds between two looks at the memory.
_LOOK = 0.5


class Trial:
    """One load test of a running service.

    Parameters
    ----------
    resources
        The service's processes; None where it runs elsewhere.
    """

    def __init__(self, address: str, asked: Sequence[Question], level: Level, resources: Resources | None) -> None:
        self._address, self._asked, self._level, self._resources = address, asked, level, resources
        self.verdict: Verdict = "unknown"
        self.reasons: list[str] = []
        self.rounds: list[Round] = []
        self.knee: Knee | None = None
        self.memory: Memory | None = None

    def run(self, ramp: bool) -> None:
        """All of it; what was found stands in the attributes. A level that names a knee is looked for in any case."""
        generator.run(lambda watch: self._run(watch, ramp or self._level.knee is not None))
        self.verdict, self.reasons = report.verdict(self.rounds, self._level, self.knee, self.memory)

    async def _run(self, watch: generator.Watch, ramp: bool) -> None:
        level = self._level
        async with generator.session(TIMEOUT) as opened, self._watched():
            asker = Generator(opened, self._address, self._asked, watch)
            with step("warm-up"):
                await self._round(asker, level.rate, min(WARM_UP, level.seconds))
            while len(self.rounds) < ROUNDS and not self._is_clear():
                with step(f"{level.rate:g} requests a second for {level.seconds:g} s"):
                    self.rounds.append(await self._round(asker, level.rate, level.seconds))
            if ramp and not report.broken(self.rounds, level):
                with step("ramp"):
                    self.knee = await self._ramp(asker, self.rounds[-1])

    def _is_clear(self) -> bool:
        """More rounds would change nothing."""
        return any(each.result == "kept" for each in self.rounds) or report.broken(self.rounds, self._level) != ""

    async def _ramp(self, asker: Generator, last: Round) -> Knee:
        """Double the rate while the level is kept, or halve it while it is missed; then close in. A step that misses is tried once more."""
        low, high = (last.rate, math.inf) if last.result == "kept" else (0.0, last.rate)
        missed, steps = last, list[Round]()
        until = time.monotonic() + RAMP
        while high > CLOSE * low and time.monotonic() < until:
            rate = math.sqrt(low * high) if low and high < math.inf else low * GROWTH or high / GROWTH
            for _ in range(2):
                steps.append(await self._round(asker, rate, STEP))
                if steps[-1].result == "kept":
                    break
            if steps[-1].result == "kept":
                low = rate
            else:
                high, missed = rate, steps[-1]
        is_late = missed.late_p99_ms > report.LATE * self._level.p99_ms or missed.idle < report.IDLE
        ended_by: Literal["service", "generator", "ramp"] = "ramp" if high > CLOSE * low else "generator" if is_late else "service"
        return Knee(rate=round(low, 1) if low else None, ended_by=ended_by, steps=steps)

    async def _round(self, asker: Generator, rate: float, seconds: float) -> Round:
        resources, cores = self._resources, None
        if resources:
            resources.look_around()
        begun, worked = time.perf_counter(), resources.worked() if resources else 0.0
        offered = await asker.offer(rate, seconds)
        if resources:
            cores = round((resources.worked() - worked) / (time.perf_counter() - begun), 3)
        return report.judge(offered, self._level, cores)

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Look at the memory meanwhile."""
        resources = self._resources
        if resources is None:
            yield
            return
        start = resources.held()

        async def look() -> None:
            while True:
                await asyncio.sleep(_LOOK)
                resources.held()

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
        processes, end = resources.look_around(), resources.held()
        self.memory = Memory(processes=processes, start_mb=start / 1e6, peak_mb=resources.peak / 1e6, end_mb=end / 1e6)
