"""The client of all servers: oha, pinned to a core of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import CLIENT, Server


@dataclass(frozen=True)
class Result:
    """What one run of the client measured."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    cpu_ms: float  # of the server, a request
    other: dict[str, int]  # answers other than 200, and errors


def press(oha: Path, server: Server, *, rows: int, clients: int, seconds: float, rate: float | None = None) -> Result:
    """Ask with so many clients at a time; with a rate, so often a second, latency from when each request was due."""
    path, body, _ = server.question(rows)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(body, file)
        file.flush()
        opened = ["-q", str(rate), "--latency-correction"] if rate else []
        command = [oha, "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-c", str(clients), "-m", "POST", *opened]
        worked = server.cpu()
        done = subprocess.run(
            ["taskset", "-c", CLIENT, *command, "-T", "application/json", "-D", file.name, server.address + path],
            capture_output=True,
            check=True,
        )
        worked = server.cpu() - worked
    found: dict[str, Any] = json.loads(done.stdout)
    statuses = {key: int(value) for key, value in found["statusCodeDistribution"].items()}
    errors = {key: int(value) for key, value in found["errorDistribution"].items() if "deadline" not in key}  # cut off at the end
    requests = sum(statuses.values())
    times = found["latencyPercentiles"]
    return Result(
        per_second=statuses.get("200", 0) / found["summary"]["total"],
        p50_ms=1000 * times["p50"],
        p99_ms=1000 * times["p99"],
        requests=requests,
        cpu_ms=1000 * worked / max(requests, 1),
        other={**{key: count for key, count in statuses.items() if key != "200"}, **errors},
    )
