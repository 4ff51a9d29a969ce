"""What ``reports/loadtest.json`` holds, how a round is judged, and the summary for people. No I/O.

Times on a shared machine are noisy, and only ever too long. So a round that misses the service level is repeated, and one that keeps it is
enough; where the generator itself came late in all of them, the machine was too busy to tell: ``unknown``, which is no pass. What no load
explains, such as an answer 500 or another prediction, counts in whichever round it happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from modelyard.loadtest.generator import OVERLOAD, Offered
from modelyard.policy import Level

Verdict = Literal["pass", "fail", "unknown"]
#: A generator that is later than this share of the allowed time excuses a 99th percentile that lies above it by at most so many times
#: what the generator was late by: its delay, in another process, is what the machine does to the service too, on each of its few steps.
LATE, EXCUSED = 0.1, 4
#: Share of the time in which a generator that can tell anything has nothing to do.
IDLE = 0.1


class Latency(BaseModel):
    """Milliseconds from when requests were due to their right answers; percentiles are times that were really measured."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Round(BaseModel):
    """One constant rate, offered for some time."""

    rate: float = Field(description="Requests due a second.")
    requests: int
    answered: float = Field(description="Right answers a second, until the last of them.")
    errors: dict[str, int] = Field(description="By kind: a status, or what happened.")
    latency: Latency | None = Field(description="None where no answer was right.")
    late_p99_ms: float = Field(description="99th percentile of how late the generator itself was with sending.")
    idle: float = Field(description="Share of the time in which the generator had nothing to do.")
    cores: float | None = Field(None, description="Processor cores that the service kept busy, where it ran here.")
    result: Literal["kept", "missed", "unclear"] = Field(description="unclear: the generator was too late to tell.")

    @property
    def failed(self) -> int:
        """Requests without a right answer."""
        return sum(self.errors.values())


class Knee(BaseModel):
    """The highest rate at which the level was still kept, found by a short ramp."""

    rate: float | None = Field(description="Requests a second; none where even the lowest was too much.")
    ended_by: Literal["service", "generator", "ramp"] = Field(description="What did not bear more; ramp: it was not looked for further.")
    steps: list[Round]


class Memory(BaseModel):
    """Resident memory of the service's processes together, in 10^6 bytes."""

    processes: int
    start_mb: float = Field(description="Ready, before the first request.")
    peak_mb: float
    end_mb: float


class Model(BaseModel):
    """What answered, as the service says at /model."""

    name: str = ""
    version: str = ""
    sha256: str = ""
    provider: str = ""


class LoadTest(BaseModel):
    """What ``reports/loadtest.json`` holds."""

    version: Literal[1] = 1
    verdict: Verdict
    reasons: list[str] = Field(description="One sentence each, why it is no pass.")
    level: Level
    service: str = Field(description="The Bento's tag, or the address of a service that ran already.")
    model: Model | None = Field(description="None where the service does not say.")
    rounds: list[Round] = Field(description="At the level's rate, until one keeps it.")
    knee: Knee | None = Field(description="None where it was not looked for.")
    memory: Memory | None = Field(description="None where the service ran elsewhere.")


def judge(offered: Offered, level: Level, cores: float | None = None) -> Round:
    """One round, held against the level."""
    samples = offered.samples
    errors = Counter(sample.error for sample in samples if sample.error)
    right = [sample for sample in samples if not sample.error]
    late = _percentile([sample.sent - sample.due for sample in samples], 99)
    took = [sample.done - sample.due for sample in right]
    latency = None
    if took:
        p50, p95, p99 = (round(_percentile(took, q), 3) for q in (50, 95, 99))
        latency = Latency(p50_ms=p50, p95_ms=p95, p99_ms=p99, max_ms=round(1000 * max(took), 3))
    seconds = max(sample.done for sample in samples) - min(sample.due for sample in samples)
    found = Round(
        rate=offered.rate,
        requests=len(samples),
        answered=round(len(right) / seconds, 3),
        errors=dict(errors.most_common()),
        latency=latency,
        late_p99_ms=round(late, 3),
        idle=round(offered.idle, 3),
        cores=cores,
        result="kept",
    )
    return found.model_copy(update={"result": _result(found, level)})


def verdict(rounds: Sequence[Round], level: Level, knee: Knee | None = None, memory: Memory | None = None) -> tuple[Verdict, list[str]]:
    """Of all rounds at the level's rate, and of throughput and memory where the level asks for them; and why it is no pass."""
    if why := broken(rounds, level):
        return "fail", [why]
    found = (_at_rate(rounds, level), _at_knee(knee, level), _held(memory, level))
    order: tuple[Verdict, ...] = ("fail", "unknown", "pass")
    return min((each for each, _ in found), key=order.index), [reason for _, reasons in found for reason in reasons]


def _at_rate(rounds: Sequence[Round], level: Level) -> tuple[Verdict, list[str]]:
    if any(each.result == "kept" for each in rounds):
        return "pass", []
    missed = [each for each in rounds if each.result == "missed"]
    if missed:
        return "fail", _missed(best(missed), level)
    late, idle = min(each.late_p99_ms for each in rounds), max(each.idle for each in rounds)
    what = f"The load generator itself was {late:.0f} ms late (99th percentile) and idle for {idle:.0%} of the time"
    return "unknown", [f"{what}: this machine is too busy to tell. Run it again."]


def _at_knee(knee: Knee | None, level: Level) -> tuple[Verdict, list[str]]:
    if level.knee is None or knee is None or (knee.rate or 0) >= level.knee:
        return "pass", []
    kept = f"The level is kept up to {knee.rate or 0:,.0f} requests a second; {level.knee:,.0f} are asked for"
    if knee.ended_by == "service":
        return "fail", [f"{kept}."]
    return "unknown", [f"{kept}, and this machine can send no more. Run it again."]


def _held(memory: Memory | None, level: Level) -> tuple[Verdict, list[str]]:
    if level.memory_mb is None or memory is None or memory.peak_mb <= level.memory_mb:
        return "pass", []
    return "fail", [f"The service's {memory.processes} processes held {memory.peak_mb:.0f} MB; {level.memory_mb:.0f} MB are allowed."]


def broken(rounds: Sequence[Round], level: Level) -> str:
    """What failed of all requests, and no load explains; empty where that is little enough."""
    found: Counter[str] = Counter()
    for each in rounds:
        found.update({kind: count for kind, count in each.errors.items() if kind not in OVERLOAD})
    total = sum(each.requests for each in rounds)
    return _too_many(found, total, level) if found.total() > level.errors * total else ""


def best(rounds: Sequence[Round]) -> Round:
    """The one that decides: kept before missed, then the fewest errors and the lowest 99th percentile."""
    order = ("kept", "missed", "unclear")
    return min(rounds, key=lambda each: (order.index(each.result), each.failed, each.latency.p99_ms if each.latency else np.inf))


def summary(found: LoadTest) -> str:
    """Markdown; the verdict stands in its first line."""
    level, decisive = found.level, best(found.rounds)
    asked = f"{level.rate:g} requests a second of {level.rows:,} {'row' if level.rows == 1 else 'rows'}"
    lines = [f"**loadtest: {found.verdict}**, {asked}: {_told(decisive)}; {level.p99_ms:g} ms are allowed"]
    lines += ["", *(f"- {reason}" for reason in found.reasons)] if found.reasons else []
    if found.model and found.model.sha256:
        lines += ["", f"Model {found.model.name} {found.model.version} ({found.model.sha256[:12]}) on {found.model.provider or 'unknown'}."]
    if found.knee:
        lines += ["", _knee(found.knee)]
    if found.memory:
        held = found.memory
        lines += ["", f"Memory of {held.processes} processes: {held.start_mb:.0f} MB at the start, {held.peak_mb:.0f} MB at most."]
    elif level.memory_mb is not None:
        lines += ["", "Memory is not known of a service that was not started here: serving.level.memory_mb is not checked."]
    rounds = [*found.rounds, *(found.knee.steps if found.knee else [])]
    lines += ["", "<details><summary>Rounds</summary>", "", *_table(rounds), "", "</details>"]
    return "\n".join(lines)


def _result(found: Round, level: Level) -> Literal["kept", "missed", "unclear"]:
    latency, is_enough = found.latency, found.failed <= level.errors * found.requests
    if latency and latency.p99_ms <= level.p99_ms and is_enough:
        return "kept"
    if found.idle < IDLE:
        return "unclear"
    if latency is None or not is_enough:
        return "unclear" if found.late_p99_ms > level.p99_ms else "missed"  # of what is late, many are due at once
    excused = EXCUSED * found.late_p99_ms if found.late_p99_ms > LATE * level.p99_ms else 0.0
    return "unclear" if latency.p50_ms <= level.p99_ms and latency.p99_ms <= level.p99_ms + excused else "missed"


def _missed(decisive: Round, level: Level) -> list[str]:
    found = []
    if decisive.failed > level.errors * decisive.requests:
        found.append(_too_many(Counter(decisive.errors), decisive.requests, level))
    if decisive.latency and decisive.latency.p99_ms > level.p99_ms:
        p99 = decisive.latency.p99_ms
        found.append(f"The 99th percentile is {p99:.1f} ms at {level.rate:g} requests a second; {level.p99_ms:g} ms are allowed.")
    return found


def _too_many(errors: Counter[str], requests: int, level: Level) -> str:
    return f"{errors.total():,} of {requests:,} requests failed ({_kinds(errors)}); {100 * level.errors:.3g} % may."


def _kinds(errors: Counter[str]) -> str:
    return ", ".join(f"{count:,} x {kind}" for kind, count in errors.most_common())


def _told(each: Round) -> str:
    failed = f"{each.failed:,} of {each.requests:,} failed" if each.failed else f"none of {each.requests:,} failed"
    return f"p99 {each.latency.p99_ms:.1f} ms, {failed}" if each.latency else "no right answer"


def _knee(found: Knee) -> str:
    if found.rate is None:
        return f"Throughput: even {min(step.rate for step in found.steps):.3g} requests a second are too many."
    why = {
        "service": "beyond that the level is missed",
        "generator": "beyond that the load generator itself was late, so it may be more",
        "ramp": "it was not taken further",
    }
    return f"Throughput at the knee: {found.rate:,.0f} requests a second; {why[found.ended_by]}."


def _table(rounds: Sequence[Round]) -> list[str]:
    lines = ["| due/s | answered/s | p50 | p95 | p99 | max (ms) | errors | generator late | idle | cores | |", "|" + "---|" * 11]
    for each in rounds:
        times = each.latency
        shown = f"{times.p50_ms:.1f} | {times.p95_ms:.1f} | {times.p99_ms:.1f} | {times.max_ms:.1f}" if times else " | | | "
        cores = "" if each.cores is None else f"{each.cores:.2f}"
        errors = _kinds(Counter(each.errors)) or "0"
        cells = [
            f"{each.rate:.4g}",
            f"{each.answered:.4g}",
            shown,
            errors,
            f"{each.late_p99_ms:.1f}",
            f"{each.idle:.0%}",
            cores,
            each.result,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _percentile(seconds: Sequence[float], q: float) -> float:
    """In milliseconds: the smallest of the values that at least ``q`` % of them do not exceed."""
    return 1000 * float(np.percentile(seconds, q, method="inverted_cdf"))
