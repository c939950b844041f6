"""The README's numbers are those of the result files, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_tables_are_generated_from_the_results():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "run python benchmarks/tables.py\n" + done.stderr


def test_pages_of_methods_are_generated_from_the_registry():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_links_to_files_exist():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_python_example_of_the_readme_uses_real_names():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert code
    compile(code[1], "README.md", "exec")
    import unweave

    for name in re.findall(r"unweave\.([a-z_]+)\(", code[1]):
        assert callable(getattr(unweave, name))
