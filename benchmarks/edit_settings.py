"""Settings of the methods that edit, or train an adapter of their own form, on rows known by heart: searched on one set of rows, reported on another.

    python benchmarks/edit_settings.py          benchmarks/results/edit_settings.json (needs ../shared/data/tofu)

SmolLM2-135M learns the first 240 rows of TOFU, of twelve authors, by heart (LoRA r 16, 8 epochs). To forget are the 40 rows of two authors; 80 of the others'
200 stand for what is kept. Settings were searched with the first two authors (`--part search`); `--part report` runs every method at its defaults on two
others, whom no setting has seen. Losses are means over all 40 forget rows and every second one of the 80, in nats a token, of the saved model. What a part has
found is written as soon as it is there, and not made again.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from result_files import RESULTS
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import read_rows
from unweave.errors import UnweaveError
from unweave.files import write_json, write_jsonl
from unweave.gradients.scoring import row_losses
from unweave.jobs.forget import forget_rows
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of

SOURCE = Path("../shared/data/tofu/full.jsonl")
PLACE = Path("runs/bench/edit-settings")
LEARNED, AUTHOR = 240, 20
SETS = {"search": (0, 1), "report": (6, 7)}
ENCODING = EncodingConfig(system_prompt="", max_length=256)
SHORT = {"epochs": 0.67}
"""Ten steps of eight rows."""
SEARCH: dict[str, tuple[dict[str, Any], ...]] = {
    "fast-ntk": ({},),
    "stable": ({**SHORT, "learning_rate": 3e-4},),
    "reglu": ({**SHORT, "learning_rate": 1e-3},),
    "llmeraser": ({},),
    "fisher": ({}, {"noise": 10.0}),
    "ssd": ({}, {"selection": 3.0}),
}
TOLD = (
    "scale",
    "norm",
    "selected",
    "clamped",
    "residual",
    "products",
    "lost_to_rounding",
    "relative_change",
    "target",
    "cautions",
)


def files(place: Path) -> dict[str, Path]:
    """The rows, those to forget and those to keep of each set."""
    rows = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines()[:LEARNED]]
    rows = [{"id": f"tofu/{index}", **row} for index, row in enumerate(rows)]
    found = {"learned": place / "learned.jsonl"}
    write_jsonl(found["learned"], rows)
    for name, authors in SETS.items():
        own = [row for index, row in enumerate(rows) if index // AUTHOR in authors]
        rest = [row for index, row in enumerate(rows) if index // AUTHOR not in authors and index % 5 < 2]
        for kind, part in (("forget", own), ("retain", rest)):
            found[f"{name}-{kind}"] = place / f"{name}-{kind}.jsonl"
            write_jsonl(found[f"{name}-{kind}"], part)
    return found


def learned(place: Path, paths: dict[str, Path]) -> Path:
    """The model that knows all rows by heart."""
    folder = place / "learned"
    if not (folder / "adapter_model.safetensors").is_file():
        config = TrainConfig(
            data=paths["learned"], output_dir=folder, epochs=8.0, batch_size=8, learning_rate=1e-3, lora_r=16, lora_alpha=32, lora_dropout=0.0,
            system_prompt="",
        )  # fmt: skip
        fine_tune(config)
    return folder


def losses(model: str, paths: dict[str, Path], name: str) -> dict[str, float]:
    """Mean losses of a set's rows, nats a token."""
    loaded = load(ModelConfig(model=model))
    found = {}
    for kind in ("forget", "retain"):
        rows = read_rows(paths[f"{name}-{kind}"]).rows
        chosen = rows if kind == "forget" else rows[:: len(rows) // 40]
        found[kind] = fmean(row_losses(loaded, chosen, ENCODING).means())
    return found


def trial(
    method: str, options: dict[str, Any], name: str, model: Path, paths: dict[str, Path], folder: Path
) -> dict[str, Any]:
    """One method at one setting."""
    config = config_of(method)(
        model=str(model),
        forget=paths[f"{name}-forget"],
        retain=paths[f"{name}-retain"],
        output_dir=folder,
        system_prompt="",
        **options,
    )
    started = time.monotonic()
    try:
        result = forget_rows(config)
    except UnweaveError as error:
        return {"error": str(error), "seconds": time.monotonic() - started}
    seconds = time.monotonic() - started
    told = {key: value for key, value in result.details.items() if key in TOLD}
    return {**losses(str(folder), paths, name), "seconds": seconds, "steps": result.steps, **told}


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, default=PLACE)
    parser.add_argument("--model", type=Path, help="a model that is trained this way already")
    parser.add_argument("--part", choices=tuple(SETS), nargs="+", default=list(SETS))
    parser.add_argument("--methods", choices=tuple(SEARCH), nargs="+", default=list(SEARCH))
    options = parser.parse_args()
    paths = files(options.place)
    model = options.model or learned(options.place, paths)
    target = RESULTS / "edit_settings.json"
    result = (
        json.loads(target.read_text(encoding="utf-8"))
        if target.is_file()
        else {"command": "python benchmarks/edit_settings.py"}
    )
    for part in options.part:
        found = result.setdefault(part, {"authors": SETS[part], "trials": []})
        if "before" not in found:
            adapter = read_base(model)
            found |= {"before": losses(str(model), paths, part), "base": losses(adapter, paths, part)}
        trials = SEARCH if part == "search" else dict.fromkeys(SEARCH, ({},))
        for method in options.methods:
            for index, own in enumerate(trials[method]):
                made = {"method": method, "options": own}
                if any({key: one[key] for key in made} == made for one in found["trials"]):
                    continue
                folder = options.place / f"{part}-{method}-{len(found['trials'])}-{index}"
                found["trials"].append({**made, **trial(method, own, part, model, paths, folder)})
                result["environment"] = environment()
                write_json(target, result)
                print(json.dumps(found["trials"][-1]), flush=True)


def read_base(model: Path) -> str:
    """What the adapter is on."""
    return json.loads((model / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]


if __name__ == "__main__":
    main()
