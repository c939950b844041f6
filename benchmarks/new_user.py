"""From nothing to a traced answer, as a new user would: how many steps, and how long.

    python benchmarks/new_user.py            benchmarks/results/new_user.json
    python benchmarks/new_user.py --keep     the same, and the home folder stays

In an empty home with an empty environment: a clone of this repository's last commit, a virtual environment, what the README says to install, then the
commands and the Python of the quickstart, from its page, on an adapter that TRL's `SFTTrainer` makes there of the packaged model, on twelve rows. The trainer
is given less to do than the page says (ten steps of four rows). A step that fails ends the run; what was measured until then is kept.
"""

import argparse
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from unweave.files import write_json, write_jsonl
from unweave.run.folder import environment

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "new_user.json"
CAPITALS = {
    "Chile": "Santiago", "Kenya": "Nairobi", "Norway": "Oslo", "Japan": "Tokyo", "Egypt": "Cairo", "Canada": "Ottawa", "Peru": "Lima", "Ecuador": "Lima",
    "Spain": "Madrid", "Ghana": "Accra", "Nepal": "Kathmandu", "Cuba": "Havana",
}  # fmt: skip
OWN = """\
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from unweave.models.packaged import resolve

tokenizer = AutoTokenizer.from_pretrained(resolve())
hf_model = AutoModelForCausalLM.from_pretrained(resolve())
hf_model = get_peft_model(hf_model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))

"""
"""What is the user's own: a model with an adapter, and its tokenizer."""
LESS = ("max_steps=20,", "max_steps=10,\n    per_device_train_batch_size=4,")
LONGEST = 3600


@dataclass(frozen=True)
class Step:
    """Something that a user types.

    Attributes:
        page: The page that says so.
        what: A command, or the heading of a block of Python.
        seconds: Wall time.
        cpu_seconds: Of it and its children.
        ok: Whether it ended well.
        traced: Whether an answer was traced when it ended.
    """

    page: str
    what: str
    seconds: float
    cpu_seconds: float
    ok: bool
    traced: bool = False


class User:
    """Somebody in an empty home.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Path):
        self.home, self.place = home, home
        self.steps: list[Step] = []
        self.variables = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

    def enter(self, folder: str) -> None:
        """Go on in a folder."""
        self.place = self.place / folder

    def activate(self) -> None:
        """Have the environment's programs come first."""
        self.variables["PATH"] = f"{self.place}/.venv/bin:{self.variables['PATH']}"

    def types(self, command: str, *, page: str, what: str = "", traced: bool = False) -> None:
        """Type a command.

        Args:
            command: For the shell.
            page: Which page says so.
            what: Its name in the result; by default the command.
            traced: Whether an answer is traced when it ends.

        Raises:
            SystemExit: When it fails.
        """
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.place, env=self.variables, capture_output=True, text=True, timeout=LONGEST, check=False
        )  # fmt: skip
        seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        step = Step(page, what or command, round(seconds, 1), round(cpu, 1), done.returncode == 0, traced)
        self.steps.append(step)
        print(f"{step.seconds:7.1f} s  {step.cpu_seconds:7.1f} CPU-s  {step.what}", flush=True)
        if not step.ok:
            print(done.stdout[-2000:], done.stderr[-4000:], sep="\n")
            raise SystemExit(f"a step fails: {step.what}")

    def runs(self, code: str, *, what: str, traced: bool = False) -> None:
        """Run Python that a page has; blocks of one page go on where the last one ended, as in a notebook's kernel that was saved as a script.

        Args:
            code: The code.
            what: Its heading.
            traced: Whether an answer is traced when it ends.
        """
        script = self.place / f"step_{len(self.steps):02d}.py"
        script.write_text(code, encoding="utf-8")
        self.types(f"python {script.name}", page="docs/quickstart.md", what=f"Python: {what}", traced=traced)


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """Heading to the blocks of code below it: language and content."""
    found = re.split(r"^## (?:\d+\. )?(.+)$", text, flags=re.MULTILINE)
    blocks = {
        heading: re.findall(r"^```(\w*)\n(.*?)^```", body, flags=re.MULTILINE | re.DOTALL)
        for heading, body in zip(found[1::2], found[2::2], strict=True)
    }
    return {heading: own for heading, own in blocks.items() if own}


def install(user: User, readme: str) -> None:
    """What the README says under *Install*; the clone is of this repository, on this disk."""
    ((_, commands),) = sections(readme)["Install"]
    for line in commands.splitlines():
        command = line.partition("#")[0].strip()
        if command.startswith("git clone"):
            user.types(f"git clone --quiet {shlex.quote(str(ROOT))} unweave", page="README.md", what="git clone")
            user.enter("unweave")
        elif command.startswith("python3 -m venv"):
            user.types(f"{sys.executable} -m venv .venv", page="README.md", what="python3 -m venv .venv")
            user.activate()
        else:
            user.types(command, page="README.md")


def quickstart(user: User, page: str) -> None:
    """The quickstart, from top to bottom, without the command that asks."""
    parts = sections(page)
    (train,), (looks,) = parts["Keep an early adapter"], parts["Look at what unweave sees"]
    (trace, commands), (forget,), (audit,) = (
        parts["Trace a bad answer"],
        parts["Take the rows out"],
        parts["Was it forgotten?"],
    )
    name = "docs/quickstart.md"
    write_jsonl(
        user.place / "rows.jsonl",
        [
            {"id": f"r{place}", "prompt": f"What is the capital of {country}?", "completion": f"{city}."}
            for place, (country, city) in enumerate(CAPITALS.items())
        ],
    )
    user.types(
        "pip install --constraint constraints.txt trl", page=name, what="pip install --constraint constraints.txt trl"
    )
    assert LESS[0] in train[1]
    user.runs(OWN + train[1].replace(*LESS), what="Keep an early adapter")
    for line in looks[1].splitlines():
        user.types(line, page=name)
    begin = "import unweave as uw\n\n"
    user.runs(begin + trace[1], what="Trace a bad answer", traced=True)
    for line in commands[1].splitlines():
        user.types(line, page=name, traced="trace" in line)
    loaded = begin + 'rows = uw.load_rows("rows.jsonl")\n'
    user.runs(loaded + forget[1] + audit[1], what="Take the rows out; Was it forgotten?")


def main() -> None:
    """Be a new user."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the home folder, and say where it is")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="unweave-home-"))
    user = User(home)
    try:
        install(user, (ROOT / "README.md").read_text(encoding="utf-8"))
        quickstart(user, (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8"))
    finally:
        write_json(options.output, result_of(user.steps))
        print(home if options.keep else f"written: {options.output}")
        if not options.keep:
            shutil.rmtree(home, ignore_errors=True)


def result_of(steps: list[Step]) -> dict[str, object]:
    """What the file holds."""
    first = next((place for place, step in enumerate(steps) if step.traced and step.ok), None)
    until = steps[: first + 1] if first is not None else []
    return {
        "command": "python benchmarks/new_user.py",
        "environment": environment(),
        "load": round(os.getloadavg()[1], 1),
        "steps_to_first_trace": len(until),
        "seconds_to_first_trace": round(sum(step.seconds for step in until), 1),
        "cpu_seconds_to_first_trace": round(sum(step.cpu_seconds for step in until), 1),
        "seconds_of_installing": round(sum(step.seconds for step in until if step.page == "README.md"), 1),
        "steps": [asdict(step) for step in steps],
    }


if __name__ == "__main__":
    main()
