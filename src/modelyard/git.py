"""Git as a child process: no prompts, no pager, the job's token in the child's environment only."""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from pathlib import Path

from modelyard.errors import GitError, PushRaceError, PushRejectedError, UsageError

#: Mail address of commits that jobs make, where nobody is configured.
NOBODY = "modelyard@users.noreply.github.com"
_RACES = ("stale info", "cannot lock ref", "reference already exists", "fetch first", "non-fast-forward", "incorrect old value")
_REFUSALS = ("hook declined", "protected branch", "remote rejected", "permission", "denied", "403")


# A hook's or a parent's repository must not become ours.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR")


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_PAGER": "cat"}
    token, server = os.environ.get("GITHUB_TOKEN"), os.environ.get("GITHUB_SERVER_URL")
    if token and server:
        # checkout runs with persist-credentials: false; nothing secret is written to disk.
        secret = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        count = int(env.get("GIT_CONFIG_COUNT") or 0)
        env[f"GIT_CONFIG_KEY_{count}"] = f"http.{server}/.extraheader"
        env[f"GIT_CONFIG_VALUE_{count}"] = f"AUTHORIZATION: basic {secret}"
        env["GIT_CONFIG_COUNT"] = str(count + 1)
    return {**env, **(extra or {})}


def attempt(*args: str, cwd: Path, env: dict[str, str] | None = None, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run git and return what happened, whatever it was."""
    try:
        return subprocess.run(["git", *args], cwd=cwd, env=_environment(env), input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise UsageError("git was not found.", "Install git and put it on the PATH.") from None


def run(*args: str, cwd: Path, env: dict[str, str] | None = None, stdin: bytes | None = None) -> str:
    """Run git; its standard output, stripped of the last newline.

    Raises
    ------
    GitError
        Git failed; its own words are in the message.
    """
    done = attempt(*args, cwd=cwd, env=env, stdin=stdin)
    if done.returncode:
        raise GitError(f"git {' '.join(args[:3])} failed: {_words(done)}")
    return done.stdout.decode().rstrip("\n")


def push(*args: str, cwd: Path) -> None:
    """Push, and tell a lost race (try again) from a refusal (stop).

    Raises
    ------
    PushRaceError
        The remote branch is not what the lease said.
    PushRejectedError
        A hook or a protection rule said no.
    """
    done = attempt("push", "--porcelain", *args, cwd=cwd)
    if done.returncode == 0:
        return
    words = _words(done)
    if any(mark in words for mark in _RACES) and "hook declined" not in words:
        raise PushRaceError(f"git push lost a race: {words}")
    if any(mark in words.lower() for mark in _REFUSALS):
        raise PushRejectedError(
            f"The remote refused the push: {words}", "Check the branch's protection rules and the token's `contents: write`."
        )
    raise GitError(f"git push failed: {words}")


def root(start: Path) -> Path:
    """The top folder of the repository around ``start``."""
    done = attempt("rev-parse", "--show-toplevel", cwd=start)
    if b"dubious ownership" in done.stderr:  # a job in a container, whose user is another than the checkout's
        raise UsageError(
            f"git does not trust the repository at {start}: somebody else owns it.", f"git config --global --add safe.directory {start}"
        )
    if done.returncode:
        raise UsageError(f"{start} is not in a git repository.", "Run `git init` there, or go to your project's folder.")
    return Path(done.stdout.decode().strip())


def origin(cwd: Path) -> str:
    """The address of ``origin``."""
    done = attempt("remote", "get-url", "origin", cwd=cwd)
    if done.returncode:
        raise UsageError("This repository has no remote `origin`.", "Create one: git remote add origin <address>")
    return done.stdout.decode().strip()


def head(cwd: Path, rev: str = "HEAD") -> str:
    """The full commit id of ``rev``."""
    done = attempt("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}", cwd=cwd)
    if done.returncode:
        raise UsageError(f"There is no commit {rev!r} in this repository.", "Commit first, fetch it, or name another one.")
    return done.stdout.decode().strip()


def fetch(cwd: Path, refspec: str) -> None:
    """Fetch one commit or branch of origin; without its history where this clone has none either."""
    shallow = run("rev-parse", "--is-shallow-repository", cwd=cwd) == "true"
    run("fetch", "--quiet", *(["--depth=1"] if shallow else []), "origin", refspec, cwd=cwd)


def deepen(cwd: Path, branch: str) -> None:
    """Bring the whole history of a branch of origin, where this clone has only the end of it, as a job's checkout has."""
    if run("rev-parse", "--is-shallow-repository", cwd=cwd) == "true":
        run("fetch", "--quiet", "--unshallow", "origin", branch, cwd=cwd)


def has(cwd: Path, rev: str) -> bool:
    """Whether the commit ``rev`` is in this clone."""
    return attempt("cat-file", "-e", f"{rev}^{{commit}}", cwd=cwd).returncode == 0


def ls(cwd: Path, rev: str, folder: str) -> list[str]:
    """The paths of the files under ``folder`` at ``rev``."""
    return run("ls-tree", "-r", "--name-only", rev, "--", folder, cwd=cwd).splitlines()


def show(cwd: Path, rev: str, path: str) -> bytes | None:
    """The bytes of ``path`` at ``rev``; None where it is not there."""
    done = attempt("show", f"{rev}:{path}", cwd=cwd)
    return done.stdout if done.returncode == 0 else None


def export(cwd: Path, rev: str, into: Path) -> None:
    """Write the tree of ``rev`` into the folder ``into``, fetching the commit from origin where this clone lacks it."""
    if not has(cwd, rev):
        fetch(cwd, rev)
    into.mkdir(parents=True, exist_ok=True)
    done = attempt("archive", "--format=tar", rev, cwd=cwd)
    if done.returncode:
        raise GitError(f"git archive {rev} failed: {_words(done)}")
    subprocess.run(["tar", "-xf", "-"], cwd=into, input=done.stdout, check=True)


def commit_files(cwd: Path, parent: str, files: dict[str, bytes | None], message: str, author: str = "") -> str:
    """A commit on ``parent`` that changes exactly ``files`` (None deletes); index, working tree and branches stay as they are.

    Parameters
    ----------
    author
        Name of the person on whose behalf a job commits; default: whoever git knows.
    """
    with tempfile.TemporaryDirectory() as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        run("read-tree", parent, cwd=cwd, env=env)
        for path, data in files.items():
            if data is None:
                run("update-index", "--force-remove", path, cwd=cwd, env=env)
                continue
            blob = run("hash-object", "-w", "--stdin", cwd=cwd, stdin=data)
            run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", cwd=cwd, env=env)
        tree = run("write-tree", cwd=cwd, env=env)
    env = _identity(cwd)
    if author:
        env |= {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": f"{author}@users.noreply.github.com"}
    return run("commit-tree", tree, "-p", parent, cwd=cwd, env=env, stdin=message.encode())


def _identity(cwd: Path) -> dict[str, str]:
    """Environment that names author and committer where nobody is configured: a runner has no identity of its own."""
    env: dict[str, str] = {}
    for role in ("AUTHOR", "COMMITTER"):
        if attempt("-c", "user.useConfigOnly=true", "var", f"GIT_{role}_IDENT", cwd=cwd).returncode:
            env |= {f"GIT_{role}_NAME": "modelyard", f"GIT_{role}_EMAIL": NOBODY}
    return env


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr + b"\n" + done.stdout).decode(errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines if line.strip())[:1500]
