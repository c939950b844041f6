"""Questions and answers, with a context where there is one."""

from unweave.data.layouts.base import Layout, pair_reader

QUESTION = Layout(
    name="question/answer",
    required=("question", "answer"),
    optional=("context",),
    read=pair_reader("question", "answer", context="context"),
    prompt="`question` and `context`",
    learned="`answer`",
)
