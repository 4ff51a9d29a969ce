"""Our load generator beside oha with `--latency-correction`: the same rates to the same servers in turn, one of which stalls.

The stalling server answers nothing for a second, every five: both must see the wait of all that were due meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click
import client
import peers
import psutil
import servers
import yard

from modelyard import processes

RATES = (50, 200, 500, 1000)
FIGURES = ("per_second", "p50_ms", "p99_ms")
_STALLING = """
import asyncio, json, time
from aiohttp import web
PREDICTION = float(__import__("sys").argv[1])
begun = time.monotonic()
async def predict(request):
    await request.read()
    since = (time.monotonic() - begun) % 5
    if since > 4:
        await asyncio.sleep(5 - since)
    return web.json_response({"predictions": [PREDICTION]})
app = web.Application()
app.add_routes([web.post("/predict", predict)])
web.run_app(app, host="127.0.0.1", port=int(__import__("sys").argv[2]), print=None)
"""
_OURS = """
import sys
from modelyard.loadtest import generator, report
from modelyard.policy import Level
address, rate, seconds, body, prediction = sys.argv[1:]
async def main(watch):
    async with generator.session(30) as session:
        asked = [generator.Question(body.encode(), [float(prediction)])]
        return await generator.Generator(session, address, asked, watch).offer(float(rate), float(seconds))
found = report.judge(generator.run(main), Level())
print(found.model_dump_json())
"""


@click.command(help=__doc__)
@yard.CACHE
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=5.0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path))
def main(cache: Path, rounds: int, seconds: float, file: Path | None) -> None:
    made, oha = yard.make(cache), peers.oha(cache)
    rows, predictions = made.rows(1)
    body = json.dumps({"rows": rows})
    runs: list[dict[str, Any]] = []
    with servers.running("FastAPI, uvloop + httptools", made, cache) as quick, _stalling(made, predictions[0]) as stalling:
        for number in range(rounds):
            for server, rate in [*((quick, rate) for rate in RATES), (stalling, 100)]:
                for tool in random.sample(["ours", "oha"], 2):
                    if tool == "oha":
                        each = client.press(oha, server, rows=1, clients=200, seconds=seconds, rate=rate)
                        found = {
                            "per_second": each.per_second,
                            "p50_ms": each.p50_ms,
                            "p99_ms": each.p99_ms,
                            "failed": sum(each.other.values()),
                        }
                    else:
                        found = _ours(server.address, rate, seconds, body, predictions[0])
                    runs.append({"tool": tool, "server": server.name, "rate": rate, "round": number, **found})
            click.echo(f"round {number + 1} of {rounds}", err=True)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(runs, indent=1) + "\n")
    click.echo(table(runs))


def table(runs: list[dict[str, Any]]) -> str:
    """Medians of the rounds, side by side."""
    lines = ["| server | rate | tool | answered/s | p50 ms | p99 ms | failed | idle |", "|" + "---|" * 8]
    for server, rate in dict.fromkeys((run["server"], run["rate"]) for run in runs):
        for tool in ("ours", "oha"):
            chosen = [run for run in runs if (run["server"], run["rate"], run["tool"]) == (server, rate, tool)]
            each = {key: median(run[key] for run in chosen) for key in FIGURES}
            failed = sum(run["failed"] for run in chosen)
            idle = f"{median(run['idle'] for run in chosen):.0%}" if tool == "ours" else ""
            figures = " | ".join(f"{each[key]:.1f}" for key in FIGURES)
            lines.append(f"| {server} | {rate} | {tool} | {figures} | {failed} | {idle} |")
    return "\n".join(lines)


def _ours(address: str, rate: float, seconds: float, body: str, prediction: float) -> dict[str, Any]:
    command = ["taskset", "-c", servers.CLIENT, sys.executable, "-c", _OURS, address, str(rate), str(seconds), body, str(prediction)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    times = found["latency"]
    failed = sum(found["errors"].values())
    return {
        "per_second": found["answered"],
        "p50_ms": times["p50_ms"],
        "p99_ms": times["p99_ms"],
        "failed": failed,
        "idle": found["idle"],
    }


@contextlib.contextmanager
def _stalling(made: yard.Yard, prediction: float) -> Iterator[servers.Server]:
    port = servers.free_port()
    process = subprocess.Popen(
        ["taskset", "-c", servers.SERVER, sys.executable, "-c", _STALLING, str(prediction), str(port)], start_new_session=True
    )
    with processes.ended_with_us(process):
        address = f"http://127.0.0.1:{port}"
        servers.wait(process, address, "/")
        yield servers.Server("stalls 1 s in 5", servers.KINDS["FastAPI"], made, address, psutil.Process(process.pid), Path(), 0.0)


if __name__ == "__main__":
    main()
