"""The environments of the servers and tools, outside of the repository: one folder each, with the pins of `requirements-*.txt`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click
import yard

HERE = Path(__file__).parent
NAMES = ["bentoml", "bentoml-uvloop", "fastapi", "fastapi-uvloop", "mlflow", "schemathesis"]
PYTHON = "3.11"
OHA = "1.16.0"


def environment(name: str, cache: Path) -> Path:
    """The folder of an environment; it is made where it is not there, or is not that of the requirements."""
    pins = (HERE / f"requirements-{name}.txt").read_text()
    home = cache.resolve() / name
    stamp = home / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != pins:
        click.echo(f"Installing {name} ...", err=True)
        subprocess.run(["uv", "venv", "-q", "--clear", "--python", PYTHON, home], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", home, "-r", HERE / f"requirements-{name}.txt"], check=True)
        stamp.write_text(pins)
    return home


def oha(cache: Path) -> Path:
    """The client, built by cargo; OHA names one that is there."""
    if given := os.environ.get("OHA") or shutil.which("oha"):
        return Path(given)
    home = cache.resolve() / "oha"
    if not (home / "bin/oha").exists():
        features = ["--no-default-features", "--features", "rustls"]
        subprocess.run(["cargo", "install", "oha", "--version", OHA, "--locked", *features, "--root", home], check=True)
    return home / "bin/oha"


@click.command(help="Make the environments, and build the client.")
@yard.CACHE
def main(cache: Path) -> None:
    for name in NAMES:
        click.echo(environment(name, cache))
    click.echo(oha(cache))


if __name__ == "__main__":
    main()
