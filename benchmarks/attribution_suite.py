"""The evaluation suite of attribution on a small model: every estimator and baseline by every measure (`unweave bench attribution`).

    python benchmarks/attribution_suite.py                  benchmarks/results/attribution_suite.json
    python benchmarks/attribution_suite.py --peers kronfluence="PYTHON benchmarks/peers/kronfluence_ekfac.py"

A Llama of 160,000 parameters and a vocabulary made of the data (that of `lds.py`) is trained on 600 generated rows of the task families; the suite fine-tunes
it with LoRA on its scenes. Figures are kept in the work folder, and a run that is started again goes on; the page is there too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lds import make_model, make_tokenizer, train
from unweave import progress
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.experiments.attribution.bench import bench_attribution
from unweave.experiments.attribution.config import EVERY_SCORER, AttributionBenchConfig
from unweave.experiments.attribution.registry import MEASURES, SCENES
from unweave.experiments.generated import generate
from unweave.files import write_json
from unweave.lazy import resolve

BASE_ROWS, BASE_EPOCHS = 600, 15
SIZES: dict[str, Any] = {
    "rows": 60, "subsets": 16, "orders": 2, "retrain_queries": 4, "random_draws": 3, "removed_shares": (0.01, 0.05, 0.1), "epochs": 3.0, "learning_rate": 1e-2,
}  # fmt: skip
"""Small enough for one core and a quarter of an hour a seed."""
RESULT = Path(__file__).parent / "results" / "attribution_suite.json"


def make_base(folder: Path, config: AttributionBenchConfig) -> Path:
    """The base model, which knows the task families and none of what the scenes plant; its vocabulary is made of both."""
    if (folder / "model.safetensors").is_file():
        return folder
    rows = generate(train_rows=BASE_ROWS, seed=99).train
    scenes = [resolve(make)(config, config.seeds[0]) for make in SCENES.values()]
    words = [*rows, *(row for scene in scenes for row in (*scene.rows, *scene.queries))]
    tokenizer = make_tokenizer([f"{row.user_text} {row.completion}" for row in words])
    model = make_model(len(tokenizer), 0)
    progress.say("train the base")
    examples = encode_rows(rows, tokenizer, EncodingConfig()).examples
    train(model, examples, epochs=BASE_EPOCHS, rate=3e-3, seed=0)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def main() -> None:
    """Make the base, run the suite, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--measures", nargs="+", default=list(MEASURES))
    parser.add_argument("--scorers", nargs="+", default=list(EVERY_SCORER))
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--work", type=Path, default=Path("build/attribution_suite"))
    options = parser.parse_args()
    config = AttributionBenchConfig(
        model=str(options.work / "base"), output_dir=options.work / "out", measures=tuple(options.measures), scorers=tuple(options.scorers),
        peers=dict(peer.split("=", 1) for peer in options.peers) or None, seeds=tuple(options.seeds), dtype="float32", **SIZES,
    )  # fmt: skip
    make_base(options.work / "base", config)
    table = bench_attribution(config)
    result = {"command": "python benchmarks/attribution_suite.py", **table.to_json()}
    # Where the work folder lay, and with which interpreter peers ran, is nobody's business.
    result["config"] = {
        name: own for name, own in result["config"].items() if name not in ("model", "output_dir", "peers")
    }
    result["config"]["peers"] = sorted(config.peers or {})
    write_json(RESULT, result)
    print(json.dumps(result["findings"], indent=2))
    print(f"written: {RESULT}; page: {config.output_dir / 'report.html'}")


if __name__ == "__main__":
    main()
