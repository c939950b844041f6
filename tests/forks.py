"""Processes that start at once: forks of one that has loaded what takes seconds, for tests that kill one after another."""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, os, sys
import peft, transformers.models.llama.modeling_llama
from unweave.cli.main import main
codes = []
for run in json.loads(sys.argv[2]):
    child = os.fork()
    if not child:
        exec(sys.argv[1])
        sys.exit(main(sys.argv[3:]))
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


def forked(preparation, runs, arguments):
    """Run a command once for each of `runs`, one after the other.

    `preparation` is code that each process runs first; it finds its own of `runs` as `run`. Returned are the exit codes, the signal's number below zero
    for a process that was killed, and what all wrote to stderr.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, preparation, json.dumps(runs), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr
