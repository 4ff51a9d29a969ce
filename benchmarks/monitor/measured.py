"""Runs a command and reports what it took: ``python -I -S measured.py FILE SECONDS MB COMMAND ...`` writes JSON into FILE.

A process of its own, and a small one: Linux counts what the parent held at the start as the child's peak memory. A command that
takes more seconds or memory than said is stopped; 0 is no limit.
"""

import json
import os
import signal
import sys
import time


def held(process: int) -> float:
    """Memory of a running process in MB."""
    with open(f"/proc/{process}/statm") as file:  # noqa: PTH123 - pathlib would double this process
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


seconds, mb = float(sys.argv[2]), float(sys.argv[3])
start = time.perf_counter()
process = os.fork()
if not process:
    os.execvp(sys.argv[4], sys.argv[4:])
stopped, done = "", not (seconds or mb)
while not done:  # the ended process is left to wait4, which counts
    time.sleep(0.1)
    done = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    if not done and seconds and time.perf_counter() - start > seconds:
        stopped = f"after {seconds / 60:.0f} minutes"
    elif not done and mb and held(process) > mb:
        stopped = f"at {mb / 1000:.0f} GB"
    if stopped:
        os.kill(process, signal.SIGKILL)
        break
_, status, used = os.wait4(process, 0)
with open(sys.argv[1], "w") as file:  # noqa: PTH123 - pathlib would double this process
    json.dump(
        {
            "code": 0 if stopped else os.waitstatus_to_exitcode(status),
            "stopped": stopped,
            "wall": time.perf_counter() - start,
            "cpu": used.ru_utime + used.ru_stime,
            "mb": used.ru_maxrss / 1024,
        },
        file,
    )
