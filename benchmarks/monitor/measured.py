"""Runs a command and reports what it took: ``python -I -S measured.py FILE COMMAND ...`` writes JSON into FILE.

A process of its own, and a small one: Linux counts what the parent held at the start as the child's peak memory.
"""

import json
import os
import sys
import time

start = time.perf_counter()
process = os.fork()
if not process:
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(process, 0)
with open(sys.argv[1], "w") as file:  # noqa: PTH123 - pathlib would double this process
    json.dump(
        {
            "code": os.waitstatus_to_exitcode(status),
            "wall": time.perf_counter() - start,
            "cpu": used.ru_utime + used.ru_stime,
            "mb": used.ru_maxrss / 1024,
        },
        file,
    )
