"""How time and memory grow with the rows: one process, and Dask on two workers, whose profiles must be the same bytes."""

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
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def cluster() -> Iterator[tuple[str, list[int]]]:
    """Two worker processes with a thread each: the scheduler's address, and the workers' numbers."""
    from distributed import Client, LocalCluster

    with (
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


def two(reference: Path, current: Path, cache: Path) -> dict[str, cost.Run]:
    """Profile and check on two workers; ``workers`` are their own CPU seconds and peak memory."""
    found: dict[str, cost.Run] = {}
    profile = cache / "two.profile"
    commands = {
        "profile": ["profile", reference, "-o", profile, "--time", "time"],
        "check": ["monitor", "--profile", profile, "--current", current, "--json", cache / "two.json"],
    }
    for name, command in commands.items():
        with cluster() as (address, workers):
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
            alone, shared = engines["one"][step], engines["two"][step]
            workers = [f"{shared[f'cpu of worker {n}']:.1f} s, {shared[f'mb of worker {n}']:.0f} MB" for n in range(1, WORKERS + 1)]
            figures_of = [f"{alone['wall']:.1f}", f"{alone['cpu']:.1f}", f"{alone['mb']:.0f}", f"{shared['wall']:.1f}", *workers]
            rows.append([f"{int(size):,}", step, *figures_of, f"{alone['wall'] / shared['wall']:.2f}x"])
    header = ["rows", "step", "one process: wall s", "CPU s", "peak MB", "two workers: wall s", "first worker", "second worker", "faster"]
    return output.table(header, rows)


@click.command(help=__doc__)
@flights.CACHE
@output.JSON
@click.option("--rows", "sizes", multiple=True, type=int, default=(10_000_000, 30_000_000, 100_000_000), show_default=True)
def main(cache: Path, json_file: Path | None, sizes: tuple[int, ...]) -> None:
    cache = flights.folder(cache)
    figures = output.read(json_file).get("scale", {})
    for rows in sizes:
        reference, current = flights.grown(cache, rows)
        figures[str(rows)] = {"one": one(reference, current, cache), "two": two(reference, current, cache)}
        for kind in ("profile", "json"):
            if (cache / f"one.{kind}").read_bytes() != (cache / f"two.{kind}").read_bytes().replace(b"two.profile", b"one.profile"):
                sys.exit(f"{rows:,} rows: the {kind} of two workers differs from that of one process.")
        output.write(json_file, {"scale": figures})
        click.echo(f"{rows:,}: {figures[str(rows)]}", err=True)
    click.echo(report(figures) + "\nProfiles and reports are the same bytes.")


if __name__ == "__main__":
    main()
