"""What holds when processes are killed, disks are full, bytes flip and two work at once: counts, for `docs/hardening.md`.

    python benchmarks/hardening.py                  benchmarks/results/hardening.json
    python benchmarks/hardening.py --part kills     this part; the others keep their results
    python benchmarks/hardening.py --part kills --only train "request run"      these commands; the others keep theirs

All of it on tiny models with random weights, in forks of a process that has imported what the commands need (`tests/forks.py`, `tests/kills.py`). A part is
written as it goes on; one that fails loses nothing else. Half an hour on one core.
"""

import argparse
import importlib
import sys
import tempfile
import time
import traceback
from pathlib import Path

from result_files import RESULTS, ROOT, load
from unweave import progress
from unweave.files import write_json
from unweave.run.folder import environment

sys.path.insert(0, str(ROOT))

NAME = "hardening"
PARTS = ("kills", "outcomes", "flips", "canary", "offline")


def main() -> int:
    """Run the parts, and write the result file as they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--only", nargs="*", help="of kills and outcomes: these commands")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    progress.silence()
    path = RESULTS / f"{NAME}.json"
    parts = load(NAME)["parts"] if path.is_file() else {}
    failed = False
    for name in options.part:
        started, kept = time.monotonic(), parts.get(name, {}).get("commands", {})
        module = importlib.import_module(f"hardening_parts.{name}")
        more = {"only": options.only} if options.only and hasattr(module, "COMMANDS") else {}
        try:
            with tempfile.TemporaryDirectory() as folder:
                for found in module.run(Path(folder), seed=options.seed, **more):
                    if more:
                        found["commands"] = {
                            one: {**kept, **found["commands"]}[one]
                            for one in module.COMMANDS
                            if one in kept or one in found["commands"]
                        }
                    seconds = round(time.monotonic() - started)
                    parts[name] = {**found, "seed": options.seed, "seconds": seconds, "environment": environment()}
                    ordered = {one: parts[one] for one in PARTS if one in parts}
                    write_json(path, {"command": "python benchmarks/hardening.py", "parts": ordered})
        except Exception:  # the other parts are made all the same, and the exit code tells
            traceback.print_exc()
            failed = True
        print(f"{name}: {round(time.monotonic() - started)} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
