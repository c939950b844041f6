"""Write the pages that come from the registries of methods and layouts, and from the result files of the models and of the evaluation suite.

python docs/generate.py           rewrites docs/methods.md, docs/paper_index.md, docs/models.md, docs/rows.md, docs/choosing.md and docs/estimators.md
python docs/generate.py --check   fails when one of them is out of date
"""

import json
import sys
from pathlib import Path
from typing import Any

from docstring_parser import parse
from estimator_page import estimator_page

from unweave.data.layouts import LAYOUTS
from unweave.data.layouts.pairs import ANSWERS, PAIRS, PROMPTS
from unweave.jobs.listing import ListOptions, list_names
from unweave.unlearning.config import config_of
from unweave.unlearning.describe import describe_methods

HERE = Path(__file__).parent
NOTE = "<!-- written by docs/generate.py: do not edit -->"


def methods_page() -> str:
    """All methods with what they need and cost."""
    lines = [
        NOTE,
        "# Forgetting methods",
        "",
        "`unweave forget --method NAME` runs one, `unweave forget --method NAME --help` shows its options, `unweave list methods --json` is this page for "
        "programs. All but `stable`, whose result is a whole model, write a standard PEFT adapter. Methods that train share early stopping: `--check-every`, "
        "`--target` or `--target-loss` stop a run where it has forgotten enough, and a run that diverges goes back to its best step. A new method is one "
        "file in `unlearning/methods/` and one line in its registry.",
        "",
        "| method | what it does | inputs | requests | cost | source |",
        "|---|---|---|---|---|---|",
    ]
    for one in describe_methods():
        cells = [
            f"`{one['name']}`",
            one["summary"],
            ", ".join(one["inputs"]),
            ", ".join(one["requests"]),
            one["cost"],
            one["paper"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def paper_index() -> str:
    """Every option that a method has of its own, its default, and what it is: where a value comes from a paper, the text says so."""
    lines = [
        NOTE,
        "# From paper to config",
        "",
        "Options that a method adds, or whose defaults are its own. A request, a seed and the rows are options of all.",
        "",
    ]
    for one in describe_methods():
        kind = config_of(one["name"])
        lines += [f"## {one['name']}", "", f"{one['paper']}. {_first(kind)}", ""]
        if not one["options"]:
            continue
        lines += ["| option | default | what it is |", "|---|---|---|"]
        texts = _attributes(kind)
        for name, default in one["options"].items():
            shown = str(default).replace("|", "\\|")
            lines.append(f"| `{name}` | {shown} | {texts.get(name, '').replace('|', chr(92) + '|')} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def models_page() -> str:
    """What works with which model, as benchmarks/model_matrix.py has found it."""
    result = json.loads((HERE.parent / "benchmarks" / "results" / "model_matrix.json").read_text(encoding="utf-8"))
    counts, kinds = result["counts"], result["adapters"]
    compared, selections = result["gradient_counts"], result["selections"]
    lines = [
        NOTE,
        "# What works with which model",
        "",
        "Each cell is a tiny model with random weights and an adapter: made by `unweave train` (`lora`) or by PEFT (the others). It is loaded again, answers "
        "in batches, is unlearned from (`forget --adapter-mode continue`), loaded again, and merged (`--adapter-mode new`); logits are compared each time, in "
        "float32. The last columns are about gradients: those of single rows, of all parameters, of all linear layers, and of an adapter on these, are "
        "compared with a loop of `torch.autograd.grad` in float64 (1e-10; 1e-5 and in `xglm` 1e-3 where the model itself computes in float32). "
        "`yes`: all are equal. `-`: PEFT makes no such adapter for this model. A number: something is refused, and the list below says by which error.",
        "",
        f"{len(result['cells'])} architectures, {len(kinds)} kinds of adapters: {counts['equal']} checks equal, {counts['refused']} refused by name, "
        f"{counts['none']} that PEFT does not offer, {counts['wrong']} wrong. Gradients, with nineteen kinds of adapters on `llama`: "
        f"{compared['equal']} equal, {compared['refused']} refused by name, {compared['not offered']} that PEFT does not offer, {compared['wrong']} wrong. "
        "`python benchmarks/model_matrix.py` repeats it.",
        "",
        "| model | "
        + " | ".join([f"`{kind}`" for kind in kinds] + [f"gradients: `{kind}`" for kind in selections])
        + " |",
        "|---|" + "---|" * (len(kinds) + len(selections)),
    ]
    reasons: list[str] = []

    def mark(reason: str) -> str:
        if reason not in reasons:
            reasons.append(reason)
        return str(reasons.index(reason) + 1)

    for name, row in result["cells"].items():
        cells = [name]
        for kind in kinds:
            others = [(check, outcome) for check, outcome in row[kind].items() if outcome != "equal"]
            if not others:
                cells.append("yes")
            elif all(outcome.startswith("none") for _, outcome in others):
                cells.append("-")
            else:
                cells.append(", ".join(mark(f"{check}: {outcome}") for check, outcome in others))
        for kind in selections:
            outcome = result["gradients"][name][kind]
            cells.append(
                {"equal": "yes", "not offered": "-"}.get(outcome.partition(":")[0]) or mark(f"gradients: {outcome}")
            )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))]
    return "\n".join(lines).rstrip() + "\n"


ROWS = """# Formats of rows

`unweave rows FILE --model MODEL` says what is recognised and shows what the model sees and learns. The layout is decided over the file, and rows of another
known layout in it are read by theirs; `null` and NaN are missing values. Columns that are not used are named and kept (`not used: label`). Other names are
mapped: `--columns instruction ASK completion REPLY`; the roles are instruction, context, completion, messages, text, clean, id, system, history and tools.

Messages may be in OpenAI's keys or ShareGPT's, their content text or a list of text parts; calls of tools, turns of tools and `tools` reach the chat template.

`--loss all-turns` (the default) learns every answer of a conversation, as TRL's SFTTrainer does with `assistant_only_loss=True`; `--loss last-turn` learns the
last one. What ends an answer in the chat template is learned with it, a newline after that is not. An answer with the weight 0, or inside of a `prompt`, only
conditions. `--template none` adds nothing but EOS. Control tokens that a row's own text holds are encoded as text
where a template puts text between its own; in plain `text`, and with `--template none`, you wrote them, and they stay. A chat template that reads the clock
writes
the day on which the run is made (`--date`), which is recorded with the run, the store and the certificate.

"Equal" means that a test compares tokens and labels with TRL's own, token by token, up to the last that carries loss; for conversations with a template whose
`{% generation %}` marks hold the answer and its end, for texts with `--template none`.

| layout | prompt | learned | TRL's format | labels |
|---|---|---|---|---|
"""


def rows_page() -> str:
    """The layouts of rows: what is prompt, what is learned, and whether TRL learns the same."""
    lines = [
        f"| {layout.name} | {layout.prompt} | {layout.learned} | {layout.trl or 'none'} | {'equal' if layout.trl else ''} |"
        for layout in LAYOUTS.values()
        if layout not in PAIRS
    ]
    prompts, answers = ", ".join(f"`{name}`" for name in PROMPTS), ", ".join(f"`{name}`" for name in ANSWERS)
    lines.append(
        f"| other pairs | one of {prompts}, and `context` | one of {answers}, where there is but one | none | |"
    )
    return f"{NOTE}\n{ROWS}" + "\n".join(lines) + "\n"


CHOOSING = """# Which method, which estimator, for which question

Begin with the question, not with the method. What stands in the tables below comes from the code's own registries; measured
comparisons are in [results](results.md) and [forgetting](forgetting.md).

## "Which rows does this answer come from?"

| you have | take |
|---|---|
| an early adapter, or an early `checkpoint-N` | `unweave cache`, `unweave trace`: sketched gradients, no curvature |
| the final adapter only | the same, with `--checkpoint-mode auto` |
| a suspicion about a word | `--span`, or `--against` another answer |
| few rows, and every doubt matters | `--rerank 200`, then a preconditioner |
| no gradients at all, or a first look | `--scorer bm25` |
| an owner, a file, a topic as the unit | `--group-by COLUMN` |

Estimators that put curvature between query and row (`unweave trace --preconditioner NAME`).
They cost passes over rows, and need a store with `--normalize none`.
Whether they say more than plain gradients is [measured on small models](results.md#does-influence-predict-retraining), with intervals:

{preconditioners}

Estimators that go through the training (`unweave trace --estimator NAME`), from what `unweave train --record` or another trainer's checkpoints kept.
`auto` takes `segments`, and compares the store's sketches where nothing was kept:

{estimators}

[Which of them when](estimators.md): all of them, and the baselines, measured side by side.

Baselines on the same rows (`unweave trace --scorer NAME`). Influence that does not beat them is not worth its price:

{scorers}

Compressions (`unweave cache --sketch NAME`); `fold` unless there is a reason, and [their variances](tracing.md#sketches):

{sketches}

## "How do I take rows out?"

| you have | take |
|---|---|
| a bad answer, and nothing else | `unweave fix`: it goes through all of it and asks you in between |
| somebody's request to be forgotten | `unweave request`: it tries, measures, certifies ([how](request.md)) |
| rows with the right answer beside the wrong one | `rapidun`: it learns the clean answer in the place of the unwanted one |
| rows without a right answer | `unweave request run` or `unweave bench forgetting` on a sample of your own: no method is the best everywhere |
| a proof rather than tests | `retrain`, or training that was private from the beginning (`dp2`) |
| a training so short that it costs no more than an attempt | `retrain` |
| no adapter | `--adapter-mode new`, or `stable`, whose result is a whole model |

Methods that take the same inputs:

{methods}

[The methods one by one](methods.md), [each option and the paper it comes from](paper_index.md), [a comparison on equal terms](forgetting.md).

## "How should rows be weighed?"

Uniform and random weights are the controls: ask your own data with them too
([what we have measured](results.md#do-influence-weights-matter-in-the-demo)). `unweave weigh --method NAME`:

{weights}

## "Was it forgotten?"

| you have | take |
|---|---|
| the rows to forget | `unweave audit --forget`: losses, answers, probes |
| like rows that were never trained on | `--like`: membership inference, and a level that the loss should reach |
| a model trained without the rows | `--retrained`: the yardstick; only then are *equivalent* and *over-forgotten* verdicts |
| an adversary in mind | `--attacks`, beside the retrained model |

Probes (`--probes NAME`):

{probes}

Attacks (`--attacks NAME`):

{attacks}

## "Which rows are worth training on?"

`unweave value`: score a sample, teach a small model to predict the scores, fill a budget ([valuing](valuing.md)).
Compare with random rows first (`unweave value curve`): on short lists of real rows the difference may be none.
"""


def choosing_page() -> str:
    """Which of what there is for which question, with what the registries say of each."""
    kinds = ("preconditioners", "estimators", "scorers", "sketches", "weights", "probes", "attacks")
    tables = {kind: _listed(kind) for kind in kinds}
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in describe_methods():
        groups.setdefault(tuple(one["inputs"]), []).append(f"`{one['name']}`")
    lines = ["| inputs | methods |", "|---|---|"]
    lines += [f"| {', '.join(inputs)} | {', '.join(names)} |" for inputs, names in groups.items()]
    return f"{NOTE}\n{CHOOSING.format(**tables, methods=chr(10).join(lines))}"


def _listed(kind: Any) -> str:
    found = list_names(ListOptions(kind=kind))
    return "\n".join(["| name | |", "|---|---|", *(f"| `{one['name']}` | {one['summary']} |" for one in found)])


def _first(kind: Any) -> str:
    found = parse(kind.__doc__ or "")
    parts = [found.short_description or "", found.long_description or ""]
    return " ".join(" ".join(part.split()) for part in parts if part)


def _attributes(kind: Any) -> dict[str, str]:
    """What each option is, by the docstrings of a config and of those that it extends."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for param in parse(base.__doc__ or "").params:
            texts[param.arg_name] = " ".join((param.description or "").split())
    return texts


PAGES = {
    "methods.md": methods_page,
    "paper_index.md": paper_index,
    "models.md": models_page,
    "rows.md": rows_page,
    "choosing.md": choosing_page,
    "estimators.md": lambda: estimator_page(NOTE),
}


def main() -> int:
    """Write the pages, or check them."""
    stale = []
    for name, page in PAGES.items():
        path = HERE / name
        if "--check" not in sys.argv:
            path.write_text(page(), encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != page():
            stale.append(name)
    if stale:
        sys.stderr.write(f"{', '.join(stale)}: out of date; run python docs/generate.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
