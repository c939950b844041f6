"""The program that writes out chat templates, in a process of its own: see `rendering.py`, which starts it and talks to it.

A message is eight bytes of length and a JSON object. Standard output carries answers only.
"""

import contextlib
import json
import os
import resource
import struct
import sys
from collections.abc import Mapping
from typing import IO, Any

import jinja2

FACTOR = 10
"""A template may repeat what it is given so many times."""


def serve() -> None:
    """Answer requests until there are no more."""
    # Imported before memory is limited; it needs no torch.
    from transformers.utils.chat_template_utils import render_jinja_template

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    send(answers, {"ready": True})
    while (request := receive(sys.stdin.buffer)) is not None:
        send(answers, _answer(request, render_jinja_template))


def send(pipe: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write a message.

    Args:
        pipe: Where to.
        message: A JSON object.
    """
    body = json.dumps(message, default=_plain).encode()
    pipe.write(struct.pack(">Q", len(body)) + body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Read a message.

    Args:
        pipe: Where from.

    Returns:
        The JSON object, or `None` at the end.
    """
    start = pipe.read(8)
    if len(start) < 8:
        return None
    size = struct.unpack(">Q", start)[0]
    body = pipe.read(size)
    return {**json.loads(body), "size": size} if len(body) == size else None


def _answer(request: dict[str, Any], render: Any) -> dict[str, Any]:
    limits = request["limits"]
    _limit(limits)
    try:
        found = render(
            conversations=[request["messages"]],
            tools=request["tools"],
            chat_template=request["template"],
            add_generation_prompt=request["opening"],
            **request["tokens"],
        )
        # Releases differ in whether they give the texts, or the texts and where answers stand in them.
        text = (found[0] if isinstance(found, tuple) else found)[0]
    except MemoryError:
        return {"limit": "memory"}
    except RecursionError:
        return {"limit": "recursion"}
    except jinja2.TemplateError as error:
        return {"refused": " ".join(str(error).split()) or type(error).__name__}
    except Exception as error:
        # What is wrong with a message shows in the template's own operations.
        return {"refused": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    return {"text": text} if len(text) <= limits["characters"] + FACTOR * request["size"] else {"limit": "characters"}


def _limit(limits: Mapping[str, int]) -> None:
    """Give this request its seconds of the processor, and the process its memory: beyond the first the system ends it, beyond the second Python raises."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime) + 1 + limits["seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    # Not every system can limit memory, or say how much there is.
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (now + limits["bytes"], hard))


def _plain(value: Any) -> Any:
    """What JSON has no word for, as transformers shows it to a template."""
    return dict(value) if isinstance(value, Mapping) else f"<{type(value).__name__}>"
