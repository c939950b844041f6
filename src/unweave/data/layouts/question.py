"""Questions and answers, with a context where there is one."""

from unweave.data.layouts.base import SYSTEM, Layout, pair_reader

QUESTION = Layout(
    name="question/answer",
    required=("question", "answer"),
    optional=("context", *SYSTEM),
    read=pair_reader("question", "answer", context="context"),
    prompt="`question` and `context`, after `system` or `system_prompt`",
    learned="`answer`",
)
