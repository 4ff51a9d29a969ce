"""How time and memory grow with the rows: one process, and Dask on two workers, whose profiles must be the same bytes.

Dask starts its workers with MALLOC_TRIM_THRESHOLD_ set, so that each array goes back to the system at once and its pages are made
anew. ``kept`` are workers that keep them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import cost
import flights
import output

WORKERS = 2
NAMES = {"one": "one process", "two": "two workers", "kept": "two workers that keep memory"}
KEPT = {  # for glibc, in place of Dask's setting
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def cluster(settings: dict[str, int]) -> Iterator[tuple[str, list[int]]]:
    """Two worker processes with a thread each: the scheduler's address, and the workers' numbers."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(settings),
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50) as started,
        Client(started, set_as_default=False) as client,
    ):
        yield started.scheduler_address, list(client.run(os.getpid).values())


def cpu(process: int) -> float:
    """CPU seconds of a running process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak(process: int) -> float:
    """Peak memory of a running process in MB."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def one(reference: Path, current: Path, cache: Path) -> dict[str, cost.Run]:
    """Profile and check in one process each."""
    profile = cache / "one.profile"
    return {
        "profile": cost.run([cost.MODELYARD, "profile", reference, "-o", profile, "--time", "time"]),
        "check": cost.run([cost.MODELYARD, "monitor", "--profile", profile, "--current", current, "--json", cache / "one.json"]),
    }


def two(reference: Path, current: Path, cache: Path, settings: dict[str, int]) -> dict[str, cost.Run]:
    """Profile and check on two workers; ``workers`` are their own CPU seconds and peak memory."""
    found: dict[str, cost.Run] = {}
    profile = cache / "two.profile"
    commands = {
        "profile": ["profile", reference, "-o", profile, "--time", "time"],
        "check": ["monitor", "--profile", profile, "--current", current, "--json", cache / "two.json"],
    }
    for name, command in commands.items():
        with cluster(settings) as (address, workers):
            before = [cpu(worker) for worker in workers]
            os.environ["DASK_SCHEDULER_ADDRESS"] = address
            found[name] = cost.run([cost.MODELYARD, *command, "--engine", "dask"])
            del os.environ["DASK_SCHEDULER_ADDRESS"]
            for number, (worker, start) in enumerate(zip(workers, before, strict=True), 1):
                found[name] |= {f"cpu of worker {number}": cpu(worker) - start, f"mb of worker {number}": peak(worker)}
    return found


def report(figures: dict[str, dict[str, dict[str, cost.Run]]]) -> str:
    """A table."""
    rows = []
    for size, engines in figures.items():
        for step in ("profile", "check"):
            for engine, steps in engines.items():
                found = steps[step]
                numbers = range(1, WORKERS + 1) if engine != "one" else ()
                shares = [f"{found[f'cpu of worker {n}']:.1f} s, {found[f'mb of worker {n}']:.0f} MB" for n in numbers]
                own = [f"{found[key]:.{digits}f}" for key, digits in (("wall", 1), ("cpu", 1), ("mb", 0))]
                rows.append([f"{int(size):,}", step, NAMES[engine], *own, *(shares or [None] * WORKERS)])
    return output.table(["rows", "step", "engine", "wall s", "CPU s", "peak MB", "first worker", "second worker"], rows)


@click.command(help=__doc__)
@flights.CACHE
@output.JSON
@click.option("--rows", "sizes", multiple=True, type=int, default=(10_000_000, 30_000_000, 100_000_000), show_default=True)
def main(cache: Path, json_file: Path | None, sizes: tuple[int, ...]) -> None:
    cache = flights.folder(cache)
    figures = output.read(json_file).get("scale", {})
    for rows in sizes:
        reference, current = flights.grown(cache, rows)
        figures[str(rows)] = {"one": one(reference, current, cache)}
        for engine, settings in (("two", {}), ("kept", KEPT)):
            figures[str(rows)][engine] = two(reference, current, cache, settings)
            for kind in ("profile", "json"):
                if (cache / f"one.{kind}").read_bytes() != (cache / f"two.{kind}").read_bytes().replace(b"two.profile", b"one.profile"):
                    sys.exit(f"{rows:,} rows: the {kind} of two workers differs from that of one process.")
        output.write(json_file, {"scale": figures})
        click.echo(f"{rows:,}: {figures[str(rows)]}", err=True)
    click.echo(report(figures) + "\nProfiles and reports are the same bytes.")


if __name__ == "__main__":
    main()
