"""Soak: minutes at 70 % of the knee, with the prediction log; each answer must have its line, and the memory stay where it is."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import click
import psutil
import servers
import yard

from modelyard.loadtest import generator, report
from modelyard.loadtest.trial import Trial
from modelyard.policy import Level

SHARE = 0.7
RAMPS = 3  # the lowest knee counts: neighbours on the machine come and go
ROUND = 10.0  # seconds
#: Memory that the last fifth of the minutes may hold more than the second.
FLAT_MB = 10.0


def measure(server: servers.Server, made: yard.Yard, level: Level, minutes: float, rate: float | None) -> dict[str, Any]:
    """The knee, then rounds one after the other at 70 % of it."""
    rows, predictions = made.rows(20)
    asked = generator.questions(rows, predictions, 1)
    knees = []
    while rate is None and len(knees) < RAMPS:
        trial = Trial(server.address, asked, level, None)
        trial.run(ramp=True)
        knees.append(trial.knee.rate if trial.knee and trial.knee.rate else 0.0)
    rate = rate or SHARE * min(knees)
    if not rate:
        raise SystemExit("No knee was found: this machine is too busy.")
    offered = rate
    memory = []

    async def press(watch: generator.Watch) -> list[report.Round]:
        rounds = []
        end = time.monotonic() + 60 * minutes
        async with generator.session(30) as session:
            asker = generator.Generator(session, server.address, asked, watch)
            while time.monotonic() < end:
                rounds.append(report.judge(await asker.offer(offered, ROUND), level))
                memory.append(round(server.memory(), 1))
        return rounds

    rounds = generator.run(press)
    errors: Counter[str] = Counter()
    for each in rounds:
        errors.update(each.errors)
    return {
        "knees": knees,
        "rate": round(rate, 1),
        "minutes": minutes,
        "requests": sum(each.requests for each in rounds),
        "errors": errors,
        "p99_ms": [each.latency.p99_ms if each.latency else None for each in rounds],
        "late_p99_ms": [each.late_p99_ms for each in rounds],
        "idle": [each.idle for each in rounds],
        "memory_mb": memory,
    }


@click.command(help=__doc__)
@yard.CACHE
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--rate", type=float, help="Instead of 70 % of the knee.")
@click.option("--json", "file", type=click.Path(path_type=Path))
def main(cache: Path, minutes: float, rate: float | None, file: Path | None) -> None:
    made = yard.make(cache)
    logs = Path(tempfile.mkdtemp(prefix="serving-log-"))
    env = {"MODELYARD_WORKERS": str(psutil.cpu_count()), "MODELYARD_LOG": str(logs)}
    try:
        with servers.running("modelyard", made, cache, cores="0,1", env=env) as server:
            found = measure(server, made, Level(rate=50, seconds=5, p99_ms=100), minutes, rate)
            served = server.counts("modelyard_requests_total", by="status", endpoint="/predict")["200"]
        lines = [json.loads(line) for path in logs.rglob("*") if path.is_file() for line in path.read_text().splitlines()]
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    found |= {"served": served, "log_lines": len(lines), "log_ids": len({line["request_id"] for line in lines})}
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n")
    memory = found["memory_mb"]
    fifth = max(1, len(memory) // 5)
    added = mean(memory[-fifth:]) - mean(memory[fifth : 2 * fifth] or memory)
    complete = found["log_lines"] == found["log_ids"] == served
    sent = f"{found['requests']:,} requests at {found['rate']:.0f} a second for {minutes:g} minutes"
    held = f"{memory[0]:.0f} MB at first, {max(memory):.0f} MB at most"
    checks = [
        (f"{sent}; errors: {dict(found['errors']) or 'none'}", not found["errors"]),
        (f"memory: {held}; the last fifth holds {added:+.1f} MB on the second", added <= FLAT_MB),
        (f"log: {found['log_lines']:,} lines, {found['log_ids']:,} request ids, {served:,} answers", complete),
    ]
    click.echo("\n".join(f"- {'reached' if met else '**MISSED**'}: {words}" for words, met in checks))
    times = sorted(value for value in found["p99_ms"] if value is not None)
    click.echo(f"\np99 of rounds of {ROUND:g} s: {times[0]:.0f} to {times[-1]:.0f} ms, median {times[len(times) // 2]:.0f} ms.")


if __name__ == "__main__":
    main()
