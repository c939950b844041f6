"""The card of a gradient store: what was cached, of which model and data, how, and what it can give away."""

from pathlib import Path

from unweave.markdown import code, front_matter, plain
from unweave.sketch.numbers import stored_bytes
from unweave.store.base import Store

TAGS = ["training-data-attribution", "gradients", "unweave"]
WARNING = (
    "**Gradients can reveal training rows.** A sketch of a row's gradient says whether the row was trained on, and can be enough to rebuild part of its text. "
    "A store on a disk also keeps prompts and completions as they are, in `rows.parquet`. Hand it on only to those who may read the rows. A row that has to be "
    "forgotten must leave every copy (`unweave store delete`, then `unweave store compact`)."
)


def store_card(store: Store, *, title: str = "A gradient store") -> str:
    """The card of a store.

    Args:
        store: The store.
        title: The card's heading.

    Returns:
        Markdown. It holds no text and no id of a row, and of places on this disk the last name alone.
    """
    spec, rows = store.spec, len(store.names())
    size = stored_bytes(spec.dimension, spec.number_format)
    facts = {
        "rows": rows,
        "fingerprint of the rows": code(store.rows_fingerprint(), cell=True),
        "model": code(_name(spec.model), cell=True),
        "adapter": code(_name(spec.adapter), cell=True) if spec.adapter else "none",
        "fingerprint of the model": code(spec.model_fingerprint, cell=True),
        "fingerprint of the tokenizer": code(spec.tokenizer_fingerprint, cell=True),
        "held as": plain(
            ", ".join(f"{name} {value}" for name, value in spec.loading.items() if value) or "not recorded"
        ),
        "gradients of": f"{code(spec.parameters, cell=True)}, fingerprint of names and sizes {code(spec.parameter_names, cell=True)}",
        "loss of a row": f"{plain(spec.reduction)} over the tokens of its completion ({plain(spec.encoding['loss'])})",
        "template, longest sequence": f"{plain(spec.encoding.get('template'))}, {plain(spec.encoding.get('max_length'))} tokens",
        "sketch": f"{plain(spec.sketch)} of {spec.dimension} numbers, seed {spec.sketch_seed}",
        "normalization": plain(spec.normalize),
        "numbers": f"{plain(spec.number_format)}, {size} bytes a row, {size * rows} in all",
        "sign": plain(spec.sign),
    }
    lines = [
        front_matter({"pretty_name": title, "tags": TAGS}),
        f"# {plain(title)}",
        "",
        "Sketched gradients of the loss of training rows, for tracing a model's answers to them. No influence was measured for this card.",
        "",
        WARNING,
        "",
        "| | |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in facts.items()],
        "",
        "It answers questions about this model alone: one with another fingerprint is refused.",
        "",
        "```python",
        "import unweave as uw",
        "",
        'index = uw.GradientIndex.open("this folder", uw.load_model("the model"))',
        'hits = index.attribute("a prompt")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _name(model: str) -> str:
    """A hub id as it is, of a folder its own name: where it lies is nobody's business."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or path.exists() else model
