"""The reference of the site, from the code: the public names of `unweave`, and the commands with all of their options.

`docs/conf.py` calls `write_reference` before Sphinx reads the pages; what it writes, `docs/reference/`, is not committed.
"""

import inspect
import shutil
from pathlib import Path
from typing import Any

import unweave
from unweave.cli.common import common_of
from unweave.cli.options import GROUPS as OPTION_GROUPS
from unweave.cli.options import Option, of_group, options_of
from unweave.cli.running import config_of
from unweave.cli.table import BUILT_IN, GROUPS, TABLE

CHAPTERS = {
    "models": "Models and rows",
    "attribution": "Trace",
    "weights": "Weights",
    "unlearning": "Unlearn",
    "methods": "Methods",
    "evaluation": "Evaluate",
    "finding": "Find the rest",
    "valuation": "Value",
    "ledger": "Requests",
    "train": "Training",
    "jobs": "Commands as functions",
}
"""Chapters of the reference, by the package that a name comes from."""

SAME = {"data": "models", "store": "attribution"}


def write_reference(folder: Path) -> None:
    """Write the pages.

    Args:
        folder: Where; what is in it is replaced.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = {"api.md": _contents("The Python API", API, [f"api/{name}" for name in CHAPTERS])}
    pages |= {f"api/{chapter}.md": text for chapter, text in _api().items()}
    words = list(dict.fromkeys(name.partition(" ")[0] for name in TABLE))
    pages["cli.md"] = _contents("The commands", _commands(), [f"cli/{word}" for word in words])
    pages |= {f"cli/{word}.md": _command_page(word) for word in words}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


API = (
    "`import unweave as uw` has the names below, and no others are promised. They are imported when first used, so that `import unweave` itself loads no "
    "torch. Editors and pyright see them with their types. Arguments after the second are given by name."
)


def _contents(title: str, text: str, pages: list[str]) -> str:
    return "\n".join([f"# {title}", "", text, "", "```{toctree}", ":maxdepth: 2", "", *pages, "```", ""])


def _api() -> dict[str, str]:
    """Chapter to page."""
    chapters: dict[str, list[tuple[str, Any]]] = {chapter: [] for chapter in CHAPTERS}
    for name in unweave.__all__:
        own = getattr(unweave, name)
        if inspect.ismodule(own):
            chapters[name] += [(f"{own.__name__}.{inner}", getattr(own, inner)) for inner in own.__all__]
        else:
            package = own.__module__.split(".")[1]
            chapters[SAME.get(package, package)].append((f"unweave.{name}", own))
    pages = {}
    for chapter, title in CHAPTERS.items():
        lines = [f"# {title}", ""]
        for name, own in chapters[chapter]:
            shown = name.removeprefix("unweave.").replace("unlearning.methods", "methods")
            kind = "autoclass" if inspect.isclass(own) else "autofunction" if callable(own) else "autodata"
            lines += [f"## uw.{shown}", "", "```{eval-rst}", f".. {kind}:: {name}"]
            lines += ["   :members:"] if kind == "autoclass" else []
            lines += ["```", ""]
        pages[chapter] = "\n".join(lines)
    return pages


def _commands() -> str:
    lines = ["| command | what it does |", "|---|---|"]
    for name, command in TABLE.items():
        word = name.partition(" ")[0]
        lines.append(f"| [`unweave {name}`](cli/{word}.md#{_anchor(name)}) | {_cell(command.about)} |")
    lines += [f"| `unweave {name}` | {_cell(text)} |" for name, text in BUILT_IN.items()]
    return "\n".join(lines)


def _anchor(name: str) -> str:
    return f"unweave-{name.replace(' ', '-')}"


def _command_page(word: str) -> str:
    own = {name: command for name, command in TABLE.items() if name.partition(" ")[0] == word}
    lines = [] if list(own) == [word] else [f"# unweave {word} ...", ""]
    if word in GROUPS:
        lines += [f"{GROUPS[word][0].upper()}{GROUPS[word][1:]}.", ""]
    for name, command in own.items():
        kind, about = config_of(command, [])
        options = options_of(kind, common_of(kind, name))
        lines += [f"{'##' if lines else '#'} unweave {name}", "", _text(about), ""]
        for group in OPTION_GROUPS:
            if members := of_group(options, group):
                lines += [f"**{group}**", "", "| option | what it is | default |", "|---|---|---|"]
                lines += [_line(one) for one in members]
                lines.append("")
    return "\n".join(lines)


def _line(one: Option) -> str:
    default = f"`{_cell(one.default)}`" if one.default else ""
    head = one.flag + (" CHOICE" if one.choices else f" {one.value}" if one.value and not one.is_positional else "")
    choices = f" One of {', '.join(f'`{choice}`' for choice in one.choices)}." if one.choices else ""
    return f"| `{head}` | {_cell(_text(one.text))}{choices} | {default} |"


def _text(text: str) -> str:
    """A docstring's text: outside of code, signs that Markdown would take for its own are text."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "*_<[$":
            parts[place] = parts[place].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
