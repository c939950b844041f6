"""The card of a student of data values."""

from unweave.markdown import code, front_matter, literal, plain
from unweave.valuation.spec import StudentSpec
from unweave.visible import json_text


def student_card(spec: StudentSpec, *, place: str | None = None) -> str:
    """The card of a student, in a folder or on the hub.

    Args:
        spec: What the student is.
        place: Its repository on the hub; `None` for a folder.

    Returns:
        Markdown.
    """
    fetched, folder = [], '"this folder"'
    if place is not None:
        fetched, folder = ["from huggingface_hub import snapshot_download"], f"snapshot_download({literal(place)})"
    held = f" Its kernel holds a vector of each of the {spec.fitted_on} rows." if spec.kernel else ""
    lines = [
        front_matter({"library_name": "unweave", "tags": ["data-valuation"]}),
        "# A student of data values (ALinFiK)",
        "",
        f"It began as {code(spec.backbone)}, was fitted on {spec.fitted_on} rows, and predicts from a row's text what LinFiK says of it.",
        f"Tasks: {', '.join(map(plain, spec.tasks))}.",
        "Values hold for the model and the tasks that they were made with.",
        "",
        f"It was learned from these rows, and may give away something of them.{held}",
        "",
        "```python",
        *fetched,
        "from unweave import ValueStudent",
        "",
        f"student = ValueStudent.from_pretrained({folder})",
        'student.values_of([("What is 2 plus 3?", "5")])',
        "```",
        "",
        "On held-out rows:",
        "",
        "```json",
        json_text(spec.metrics, indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)
