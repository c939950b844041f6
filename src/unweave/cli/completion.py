"""`unweave completion bash|zsh|fish`: the script that a shell completes commands, options and choices with."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from unweave import terminal
from unweave.cli.common import common_of
from unweave.cli.options import Option, options_of
from unweave.cli.running import config_of
from unweave.cli.table import BUILT_IN, GROUPS, TABLE

SHOWN = 80
"""Characters of an option's text."""

BASH = """# unweave completion for bash: source <(unweave completion bash)
_unweave() {
  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" words=""
  [ "$COMP_CWORD" -gt 1 ] && command="${COMP_WORDS[1]}"
  if [ "$COMP_CWORD" -gt 2 ]; then
    case "$command ${COMP_WORDS[2]}" in
      @NESTED@) command="$command ${COMP_WORDS[2]}" ;;
    esac
  fi
  case "$before $current" in
    --*" -"*) before="" ;;
    --*) words=" " ;;
  esac
  case "$command $before" in
@CHOICES@
  esac
  if [ -z "$words" ]; then
    case "$command" in
@WORDS@
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _unweave unweave
"""
ZSH = """# unweave completion for zsh: source <(unweave completion zsh)
autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """Print the script that completes commands, options and their choices.

    In bash and zsh `source <(unweave completion bash)` loads it, in fish `unweave completion fish | source`.

    Attributes:
        shell: Whose.
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]


def completion_script(config: CompletionOptions) -> str:
    """The script of a shell.

    Args:
        config: Which.

    Returns:
        Its text.
    """
    found = {}
    for name, command in TABLE.items():
        kind = config_of(command, [])[0]
        found[name] = options_of(kind, common_of(kind, name))
    if config.shell == "fish":
        return _fish(found)
    return _bash(found) if config.shell == "bash" else ZSH + _bash(found).partition("\n")[2]


def _bash(found: dict[str, list[Option]]) -> str:
    choices = [
        f'    "{name} {one.flag}") words="{" ".join(one.choices)}" ;;'
        for name, options in found.items()
        for one in options
        if one.choices and not one.is_positional
    ]
    words = [f'      "{name}") words="{" ".join(own)}" ;;' for name, own in _words(found).items()]
    nested = "|".join(f'"{name}"' for name in found if " " in name)
    return (
        BASH.replace("@NESTED@", nested).replace("@CHOICES@", "\n".join(choices)).replace("@WORDS@", "\n".join(words))
    )


def _words(found: dict[str, list[Option]]) -> dict[str, list[str]]:
    """What may follow each command, and each first word of one: names, choices of what has its place, options."""
    words: dict[str, list[str]] = {"": [*dict.fromkeys(name.partition(" ")[0] for name in found), *BUILT_IN]}
    for name, options in found.items():
        first, _, second = name.partition(" ")
        if second:
            words.setdefault(first, []).append(second)
        places = [choice for one in options if one.is_positional for choice in one.choices]
        words.setdefault(name, []).extend([*places, *(one.flag for one in options if not one.is_positional)])
    return words


def _fish(found: dict[str, list[Option]]) -> str:
    lines = ["# unweave completion for fish: unweave completion fish | source"]
    firsts = {
        name.partition(" ")[0]: GROUPS.get(name.partition(" ")[0]) or TABLE[name].about for name in reversed(found)
    }
    for name, about in (firsts | BUILT_IN).items():
        lines.append(f"complete -c unweave -n __fish_use_subcommand -xa {name} -d {_quoted(about)}")
    for name, options in found.items():
        first, _, second = name.partition(" ")
        here = f"__fish_seen_subcommand_from {first}"
        if second:
            lines.append(f"complete -c unweave -n {_quoted(here)} -a {second} -d {_quoted(TABLE[name].about)}")
            here += f"; and __fish_seen_subcommand_from {second}"
        for one in options:
            values = f"-xa {_quoted(' '.join(one.choices))}" if one.choices else "-r" if one.value else ""
            option = f"-l {one.flag[2:]} " if not one.is_positional else ""
            if option or one.choices:
                lines.append(f"complete -c unweave -n {_quoted(here)} {option}{values} -d {_quoted(one.text[:SHOWN])}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as fish reads it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def show(_: CompletionOptions, script: str) -> None:
    """Print a script as it is.

    Args:
        script: The script.
    """
    terminal.lines(script.rstrip("\n"))
