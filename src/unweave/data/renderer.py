"""The program that writes out chat templates, in a process of its own: see `rendering.py`, which starts it and talks to it.

Standard output carries answers only.
"""

import contextlib
import importlib
import importlib.util
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

import jinja2

from unweave.data.pipes import receive, send

FACTOR = 10
"""A template may repeat what it is given so many times."""


def serve() -> None:
    """Answer requests until there are no more."""
    # Imported before memory is limited; it needs no torch.
    render = _renderer_of_transformers()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    send(answers, {"ready": True})
    while (request := receive(sys.stdin.buffer)) is not None:
        send(answers, _answer(request, render))


def _renderer_of_transformers() -> Any:
    """Its own function, from its file alone: the packages around it import much that takes a second, for which each command would wait."""
    packages, file = ("transformers", "transformers.utils"), "transformers.utils.chat_template_utils"
    try:
        for name in packages:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
        render = importlib.import_module(file).render_jinja_template
        render(conversations=[[{"role": "user", "content": "x"}]], chat_template="{{ messages[0]['content'] }}")
    except Exception:  # a release whose file needs more of the packages
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
            del sys.modules[name]
        render = importlib.import_module(file).render_jinja_template
    return render


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
