"""Names and texts in Markdown: they are what they say, never markup, a link, a row of a table or a part of the front matter."""

import re
from typing import Any

from unweave.visible import one_line, visible

_MARKUP = re.compile(r"[\\`*<>#|~&$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])|(?<=:)//|(?<=www)\.|@")
# A list, a rule, a heading, where a line begins so.
_BEGINS = re.compile(r"^(\d*)([.)](?=\s|$)|[-+=](?=[-+=\s]|$))")


def plain(text: object) -> str:
    """A text as Markdown that shows it as it is, on one line: in a paragraph, a heading, or a cell of a table.

    Args:
        text: The text.

    Returns:
        Markdown.
    """
    return _BEGINS.sub(r"\1\\\2", _MARKUP.sub(_escaped, one_line(text)))


def _escaped(found: re.Match[str]) -> str:
    return "\\/\\/" if found[0] == "//" else f"\\{found[0]}"


def code(text: object, *, cell: bool = False) -> str:
    """A name as code within a line.

    Args:
        text: The name.
        cell: Whether it stands in a table.

    Returns:
        Markdown.
    """
    shown = one_line(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    space = " " if not shown.strip() or shown[0] in "` " or shown[-1] in "` " else ""
    made = f"{fence}{space}{shown}{space}{fence}"
    return made.replace("|", "\\|") if cell else made


def literal(text: object) -> str:
    """A name as a Python string, for an example that can be run.

    Args:
        text: The name.

    Returns:
        Python.
    """
    name = str(text)
    plainly = visible(name) == name and not set('"\\\n\t') & set(name)
    return f'"{name}"' if plainly else visible(repr(name))


def front_matter(values: dict[str, Any]) -> str:
    """The YAML that a model card begins with.

    Args:
        values: Key to value.

    Returns:
        Its lines, with the marks around them.
    """
    import yaml

    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=float("inf"))
    if visible(text) != text:
        # As YAML's escapes, which give the same values.
        text = yaml.safe_dump(values, sort_keys=False, width=float("inf"))
    return f"---\n{text}---\n"
