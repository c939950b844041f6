"""The notebooks as pages of the site: text, code, and what it printed when it was executed last."""

import json
import re
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def write_notebooks(folder: Path) -> None:
    """Write a page for each notebook.

    Args:
        folder: Where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        (folder / f"{path.stem}.md").write_text(page_of(path), encoding="utf-8")


def page_of(path: Path) -> str:
    """A notebook as Markdown.

    Args:
        path: The notebook.

    Returns:
        The page; links to pages and to other notebooks lead to those of the site.
    """
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", source.replace("](../docs/", "](/")))
            continue
        parts.append(f"```python\n{source}\n```")
        if printed := "".join(_printed(output) for output in cell["outputs"]).strip("\n"):
            parts.append(f"```text\n{printed}\n```")
    return "\n\n".join(parts) + "\n"


def _printed(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", []))
