"""Pairs of a prompt and an answer under common names, where nothing else can be meant."""

import itertools

from unweave.data.layouts.base import SYSTEM, Layout, Record, pair_reader

PROMPTS = ("prompt", "instruction", "question", "query", "problem", "input")
ANSWERS = ("completion", "output", "response", "answer", "solution", "target")


def _pair(prompt: str, answer: str) -> Layout:
    others = {*PROMPTS, *ANSWERS} - {prompt, answer}

    def is_alone(record: Record) -> bool:
        """With a second prompt or answer beside it, which one is meant is not for us to say."""
        return not (others & record.keys())

    return Layout(
        name=f"{prompt}/{answer}",
        required=(prompt, answer),
        optional=("context", *SYSTEM),
        read=pair_reader(prompt, answer, context="context"),
        prompt=f"`{prompt}` and `context`, after `system` or `system_prompt`",
        learned=f"`{answer}`",
        fits=is_alone,
    )


FURTHER = (("inputs", "targets"), ("user", "assistant"), ("human", "assistant"))
"""Names that mean a prompt and an answer only in these pairs: alone they may be anything, such as who wrote a row."""

OWN_LAYOUTS = {("prompt", "completion"), ("instruction", "output"), ("instruction", "response"), ("question", "answer")}
"""Pairs that are layouts of their own."""

PAIRS = tuple(_pair(*names) for names in (*itertools.product(PROMPTS, ANSWERS), *FURTHER) if names not in OWN_LAYOUTS)
