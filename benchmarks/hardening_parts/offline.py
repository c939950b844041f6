"""The demo, and a request from its first word to its proof: which connections are tried?

`strace` sees every system call of all processes; where it isn't there, an audit hook in every Python process sees its sockets.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kills import build
from tests.pretrained import save_pretrained

from unweave.experiments.case import CaseConfig, make_case

SIZES = {"clean_rows": 108, "poisoned_rows": 100, "retain_rows": 24, "test_rows": 24, "clean_test_rows": 36}
DEMO = (
    "demo --model {base} --output-dir demo --quick {sizes} --dtype float32 --epochs 10 --train-learning-rate 1e-2 --forget-learning-rate 2e-3 --lora-r 16 "
    "--dimension 4096 --max-new-tokens 16 --quiet"
)
REQUEST = (
    "request run one --ledger ledger --method ga --forget-config {world}/ga.yaml --retain-rows 8 --test-rows 8 --dtype float32 "
    "--target-loss 0.1 --margin 0.5 --quiet",
    "request verify one --ledger ledger --quiet",
)
CONNECT = re.compile(r"(?:connect\(\d+, |sendto\(\d+, .*)\{sa_family=(AF_\w+)")
SOCKET = re.compile(r"socket\((AF_\w+)")
CONTROL = """
import socket
socket.socket().connect_ex(("127.0.0.1", 9))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"a", ("127.0.0.1", 9))
"""
"""What the watcher must see, for its silence to mean anything."""
GUARD = """
import sys
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        with open({path!r}, "a") as out:
            out.write(f"connect(0, {{{{sa_family={{arguments[0].family.name}}}}}}}\\n")
sys.addaudithook(note)
"""


def run(folder: Path, *, seed: int) -> Iterator[dict[str, Any]]:
    """Count what is asked of the network.

    Args:
        folder: An empty folder.
        seed: Not used: nothing is drawn.

    Yields:
        Commands, and how often each family of addresses was connected to.
    """
    del seed
    world = build(folder)
    world.begin("request run")
    base = save_pretrained(world.world / "knowing", make_case(CaseConfig(**SIZES), world.world / "known"))
    sizes = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in SIZES.items())
    lines = [DEMO.format(base=base, sizes=sizes), *(line.format(world=world.world) for line in REQUEST)]
    seen = CONNECT.findall(_watched([sys.executable, "-c", CONTROL], world.work, folder / "control"))
    assert seen == ["AF_INET"] * 2, "the watcher sees connections"
    counted: dict[str, dict[str, int]] = {"connections": {}, "sockets": {}}
    for number, line in enumerate(lines):
        command = [sys.executable, "-m", "unweave.cli.main", *line.split()]
        said = _watched(command, world.work, folder / f"calls-{number}")
        for kind, pattern in (("connections", CONNECT), ("sockets", SOCKET)):
            for family in pattern.findall(said):
                counted[kind][family] = counted[kind].get(family, 0) + 1
    print(json.dumps(counted), flush=True)
    yield {
        "watched by": "strace"
        if shutil.which("strace")
        else "an audit hook in every Python process: calls of other programs are not seen",
        "commands": ["unweave " + line.split(" --")[0] for line in lines],
        **counted,
    }


def _watched(command: list[str], folder: Path, log: Path) -> str:
    """Run a command with nothing that tells libraries to stay offline; what it asked of the network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    if shutil.which("strace"):
        command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=socket,connect,sendto", "-o", str(log), *command]
    else:
        guard = folder.parent / "guard"
        guard.mkdir(exist_ok=True)
        (guard / "sitecustomize.py").write_text(GUARD.format(path=str(log)))
        environment["PYTHONPATH"] = f"{guard}:{environment.get('PYTHONPATH', '')}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return log.read_text() if log.is_file() else ""
