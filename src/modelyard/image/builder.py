"""What builds, runs and pushes images: docker, podman or buildah, whichever works here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from modelyard import processes, serving
from modelyard.errors import ServiceError, UsageError

#: Names one of them, or ``none``: the first that works is taken otherwise.
VARIABLE = "MODELYARD_BUILDER"
NAMES = ("docker", "podman", "buildah")
PORT = 3000

_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_HERE = ("127.0.0.1", "localhost", "[::1]")
_GITHUB = "ghcr.io"


class Login(NamedTuple):
    """Who pushes."""

    user: str
    password: str


def find() -> Builder | None:
    """The builder of this machine; None where there is none, or none is wanted.

    Raises
    ------
    UsageError
        The one that MODELYARD_BUILDER names does not work.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "none":
        return None
    if wanted and wanted not in NAMES:
        raise UsageError(f"{VARIABLE}={wanted}: known are {', '.join(NAMES)} and none.")
    for name in [wanted] if wanted else NAMES:
        try:
            done = subprocess.run([name, "info"], capture_output=True, text=True, check=False)
        except OSError as error:
            done = subprocess.CompletedProcess([], 1, "", error.strerror or "")
        if done.returncode == 0:
            return Builder(name)
        if wanted:
            raise UsageError(f"{wanted} ({VARIABLE}) does not work here: {serving.last_words(done.stderr)}")
    return None


@dataclass(frozen=True)
class Builder:
    """One of the three programs; they take nearly the same arguments."""

    name: str

    def build(
        self,
        context: Path,
        reference: str,
        *,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        secrets: Mapping[str, Path],
        created: datetime,
    ) -> None:
        """Build the Dockerfile of a folder.

        Parameters
        ----------
        labels
            Given to the program as they are, so that nothing in them is expanded, as in a Dockerfile.
        secrets
            Mounted while a step runs; in no layer, and not in the history.
        created
            The time in the image, and of its files: the same content is the same image.

        Raises
        ------
        ServiceError
            It failed; its last words are in the message.
        """
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        given += [f"--label={name}={value}" for name, value in labels.items()]
        given += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        epoch = str(int(created.timestamp()))
        if self.name != "docker":  # a health check is none of the OCI's format
            given += ["--layers", "--format=docker", f"--timestamp={epoch}"]
        env = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDKIT_PROGRESS": "plain", "SOURCE_DATE_EPOCH": epoch}
        done = self._run("build", *given, "--tag", reference, str(context), env=env)
        if done.returncode:
            raise ServiceError(f"{self.name} cannot build {reference}: {serving.last_words(done.stderr or done.stdout, 15)}")

    def megabytes(self, reference: str) -> float | None:
        """Size of an image in its own store, layers of its base included; None where it is not there."""
        if self.name == "buildah":
            done = self._run("images", "--json", reference)
            return _bytes(json.loads(done.stdout)[0]["size"]) / 1e6 if done.returncode == 0 else None
        done = self._run("image", "inspect", "--format", "{{.Size}}", reference)
        return int(done.stdout) / 1e6 if done.returncode == 0 else None

    @contextmanager
    def running(self, reference: str, log: Path, env: Mapping[str, str] | None = None) -> Iterator[str]:
        """Run an image as it is deployed: not root, with a root that is read-only, on a free port of 127.0.0.1; its address.

        Buildah runs it in a chroot, where the root can be written to, but not by the image's user.

        Raises
        ------
        ServiceError
            It ended, or was not ready in time.
        """
        port = serving.free_port()
        address = f"http://127.0.0.1:{port}"
        if self.name == "buildah":
            container = self._said("from", "--pull-never", reference)
            inside = {**(env or {}), "BENTOML_HOST": "127.0.0.1", "BENTOML_PORT": str(port)}
            command = ["run", "--isolation=chroot", *_variables(inside), container, "--", *self._command(reference)]
        else:
            container = f"modelyard-{os.getpid()}-{port}"
            where = ["--name", container, "--publish", f"127.0.0.1:{port}:{PORT}", "--read-only", "--no-healthcheck", "--tmpfs", "/tmp"]  # noqa: S108
            command = ["run", "--rm", *where, *_variables(env or {}), reference]
        with log.open("w") as out:
            process = subprocess.Popen([self.name, *command], stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                with processes.ended_with_us(process):
                    try:
                        serving.wait_until_ready(address, process, log)
                        yield address
                    finally:
                        if self.name == "buildah":
                            _stop_inside(process)
                        else:
                            self._run("stop", "--time", "10", container)
            finally:
                if self.name == "buildah":
                    self._run("rm", container)

    def push(self, reference: str, target: str, login: Login | None = None) -> str:
        """Push an image.

        Parameters
        ----------
        target
            ``registry/name:tag``. A registry of this machine may speak plain HTTP.

        Returns
        -------
        str
            Its digest there, ``sha256:...``.

        Raises
        ------
        ServiceError
            The registry refused, or does not answer.
        """
        host = target.partition("/")[0]
        if self.name == "docker":
            return self._push_by_docker(reference, target, host, login)
        plain = ["--tls-verify=false"] if host.partition(":")[0] in _HERE else []
        with tempfile.TemporaryDirectory(prefix="modelyard-push-") as name:
            digest, authentication = Path(name) / "digest", Path(name) / "auth.json"
            if login:  # into a file that goes with the folder
                self._log_in(host, login, *plain, f"--authfile={authentication}")
                plain.append(f"--authfile={authentication}")
            self._push(reference, f"docker://{target}", target, *plain, f"--digestfile={digest}")
            return digest.read_text().strip()

    def _push_by_docker(self, reference: str, target: str, host: str, login: Login | None) -> str:
        self._said("tag", reference, target)
        if login:
            self._log_in(host, login)
        try:
            self._push(target, "", target)
        finally:
            if login:
                self._run("logout", host)
        digests: list[str] = json.loads(self._said("image", "inspect", "--format", "{{json .RepoDigests}}", target))
        name = target.rpartition(":")[0]
        return next(each.partition("@")[2] for each in digests if each.startswith(f"{name}@"))

    def _push(self, reference: str, destination: str, target: str, *options: str) -> None:
        done = self._run("push", *options, reference, *([destination] if destination else []))
        if done.returncode:
            words = serving.last_words(done.stderr)
            raise ServiceError(f"{target} cannot be pushed: {words}", "Check serving.image.registry, and who may push there.")

    def _log_in(self, host: str, login: Login, *options: str) -> None:
        done = self._run("login", "--username", login.user, "--password-stdin", *options, host, stdin=login.password)
        if done.returncode:
            raise ServiceError(f"{host} does not let {login.user} in: {serving.last_words(done.stderr)}")

    def _command(self, reference: str) -> list[str]:
        """What an image runs."""
        held = json.loads(self._said("inspect", "--type", "image", reference))["Docker"]["config"]
        return [*(held.get("Entrypoint") or []), *(held.get("Cmd") or [])]

    def _said(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise ServiceError(f"{self.name} {arguments[0]} failed: {serving.last_words(done.stderr)}")
        return done.stdout.strip()

    def _run(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        whole = {**os.environ, **(env or {})}
        return subprocess.run([self.name, *arguments], env=whole, input=stdin, capture_output=True, text=True, check=False)


def login(registry: str) -> Login | None:
    """Who pushes, by the environment: MODELYARD_REGISTRY_USER and MODELYARD_REGISTRY_PASSWORD, or on GitHub the job's token.

    The token goes to GitHub's own registry only. None: whoever the builder knows.
    """
    if password := os.environ.get("MODELYARD_REGISTRY_PASSWORD"):
        return Login(os.environ.get("MODELYARD_REGISTRY_USER", ""), password)
    if (token := os.environ.get("GITHUB_TOKEN")) and registry.partition("/")[0] == _GITHUB:
        return Login(os.environ.get("GITHUB_ACTOR", "modelyard"), token)
    return None


def _bytes(words: str) -> float:
    """What buildah tells people, as ``371 MB``."""
    found = re.fullmatch(r"([\d.]+) ?([kMGT]?B)", words)
    if not found:
        raise ServiceError(f"buildah tells the size {words!r}, which is none.")
    return float(found[1]) * _UNITS[found[2]]


def _variables(env: Mapping[str, str]) -> list[str]:
    return [word for name, value in env.items() for word in ("--env", f"{name}={value}")]


def _stop_inside(process: subprocess.Popen[bytes]) -> None:
    """End what buildah runs, in good order: a signal to buildah itself would kill the supervisor and leave its workers alone."""
    import psutil  # type: ignore[import-untyped]

    try:
        family = psutil.Process(process.pid).children(recursive=True)
        served = next((each for each in family if "buildah" not in each.cmdline()[0]), None)
        if served:
            served.terminate()
            process.wait(timeout=20)
    except (psutil.Error, IndexError, subprocess.TimeoutExpired):
        return
