"""Plain text: all of it is learned."""

from unweave.data.layouts.base import Content, Layout, text_of

TEXT = Layout(
    name="text",
    required=("text",),
    read=lambda record: Content("", text_of(record, "text")),
    prompt="nothing",
    learned="`text`, but for its first token, which nothing predicts",
    trl="standard language modeling",
    has_prompt=False,
)
