"""What valuing a row costs, by LinFiK and by a student: over the size of the large model; and `unweave value predict` on many rows.

    python benchmarks/value_cost.py        benchmarks/results/value_cost.json

Sizes: rows of 64 tokens, LinFiK's gradients of a LoRA adapter (rank 16, all linear layers) on SmolLM2-135M and on models of random weights with
the shapes of SmolLM2-360M and -1.7B, beside MiniLM with two outputs on texts of 64 tokens, all in bfloat16. The floor is the multiplications of a forward
pass and of a backward pass to the activations (four a weight and token; two for the student's forward pass), at the speed of a large matrix product
measured in the same process. Predict: generated rows with one broken line in a hundred, one process a size for the peak of its memory; then kills at
random moments, and a resume. The student is that of `python benchmarks/valuing.py generated`.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from unweave.attribution.config import ENCODER
from unweave.data.encoding import Example
from unweave.experiments.generated import generate
from unweave.files import read_json, write_json
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.stats.intervals import rank_correlation
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions
from unweave.valuation.baselines import document
from unweave.valuation.linfik import TaskGradients
from unweave.valuation.student import Student

STUDENT = Path("runs/bench/valuing-generated/student-0-minilm-regression")
TOKENS, ROWS = 64, 16
SHAPES: dict[str, dict[str, int] | None] = {
    "SmolLM2-135M": None,
    "shape of SmolLM2-360M": {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15, "num_key_value_heads": 5},
    "shape of SmolLM2-1.7B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32},
}  # fmt: skip
SIZES = (5_000, 15_000, 45_000)
KILLS = 5
BROKEN = 100


def quickest(work: Callable[[], Any], *, times: int = 3) -> float:
    """Seconds of the quickest of some calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def speed() -> float:
    """Multiplications and additions a second of a large matrix product in bfloat16."""
    a, b = (torch.randn(2048, 2048, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 2048**3 / quickest(lambda: a @ b, times=5)


def beside_floor(weights: int, seconds: float, operations: int) -> dict[str, float]:
    """Seconds a row beside those of so many operations a weight and token."""
    floor = operations * weights * TOKENS / speed()
    return {
        "weights": weights,
        "seconds_a_row": seconds,
        "floor_seconds_a_row": floor,
        "times_the_floor": seconds / floor,
    }


def size_point(name: str) -> dict[str, float]:
    """LinFiK on one model."""
    torch.set_num_threads(2)
    shape = SHAPES[name]
    if shape is None:
        model = load(ModelConfig(dtype="bfloat16")).model
    else:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=49_152, tie_word_embeddings=True, **shape)).to(torch.bfloat16)
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    model = add_lora(model, LoraOptions(lora_r=16, lora_dropout=0.0), seed=0)
    generator = torch.Generator().manual_seed(0)
    rows = [
        Example(f"r{index}", tuple(torch.randint(10, 40_000, (TOKENS,), generator=generator).tolist()), TOKENS // 2)
        for index in range(ROWS)
    ]
    gradients = GradientConfig(parameters="lora", normalize="none", token_budget=1024)
    tasks = TaskGradients(Sketcher(model, pad_token_id=2, config=gradients), [rows[:4], rows[4:8]])
    tasks.values(rows[:2])
    seconds = quickest(lambda: tasks.values(rows)) / ROWS
    return beside_floor(weights, seconds, 4)


def student_point() -> dict[str, float]:
    """The student on texts of as many tokens."""
    torch.set_num_threads(2)
    student = Student.begin(ENCODER, ["a", "b"], max_length=256, device="cpu")
    student.backbone.to(torch.bfloat16)
    texts = [" ".join(["cat"] * (TOKENS - 2))] * 512
    assert student.tokens(texts[:1])["input_ids"].shape[1] == TOKENS
    student.scores(texts[:64])
    seconds = quickest(lambda: student.scores(texts)) / len(texts)
    weights = sum(module.weight.numel() for module in student.modules() if isinstance(module, torch.nn.Linear))
    return beside_floor(weights, seconds, 2)


def rounding() -> dict[str, float]:
    """What bfloat16 changes in a fitted student's predictions of held-out rows."""
    texts = [document(row) for row in generate(seed=1, train_rows=2_000).train]
    own = {}
    for dtype in ("float32", "bfloat16"):
        student = Student.from_pretrained(STUDENT, device="cpu", dtype=dtype)
        own[dtype] = student.scores(texts)
    columns = zip(own["float32"].T, own["bfloat16"].T, strict=True)
    return {task: rank_correlation(*pair) for task, pair in zip(student.spec.tasks, columns, strict=True)}


def write_rows(path: Path, count: int) -> int:
    """Rows with a broken line in a hundred; how many are broken."""
    rows = [row.to_record() for row in generate(train_rows=3_600).train]
    broken = 0
    with path.open("w", encoding="utf-8") as lines:
        for number in range(count):
            if number % BROKEN == BROKEN // 2:
                broken += 1
                lines.write('{"instruction": "cut off\n')
            else:
                lines.write(json.dumps({**rows[number % len(rows)], "id": f"n{number}"}) + "\n")
    return broken


def predict_command(data: Path, out: Path) -> list[str]:
    """The command that a user would give."""
    script = str(Path(sys.executable).parent / "unweave")
    options = {"student": STUDENT, "data": data, "output-dir": out, "part-rows": 1024}
    return [script, "value", "predict", *(part for key, value in options.items() for part in (f"--{key}", str(value)))]


def predict_points(folder: Path) -> list[dict[str, float]]:
    """Rows a second and peak memory, over the number of rows."""
    found = []
    for count in SIZES:
        data, out = folder / f"{count}.jsonl", folder / f"out-{count}"
        broken = write_rows(data, count)
        started = time.perf_counter()
        child = subprocess.Popen(predict_command(data, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0, f"predict failed on {count} rows"
        result = read_json(out / "predict.result.json", what="The result")["result"]
        assert (result["rows"], result["problems"]) == (count - broken, broken), "a row was lost"
        point = {
            "rows": count, "broken_lines": broken, "problems_reported": result["problems"], "rows_per_second": result["rows_per_second"],
            "seconds": result["seconds"], "wall_seconds": time.perf_counter() - started, "peak_gib": usage.ru_maxrss / 2**20,
        }  # fmt: skip
        print(json.dumps(point), flush=True)
        found.append(point)
    return found


def kills(folder: Path, wall: float, seed: int) -> dict[str, Any]:
    """Kill runs at random moments, resume them, and compare what they end with with the undisturbed run, which took `wall` seconds."""
    count = SIZES[1]
    data, whole, out = folder / f"{count}.jsonl", folder / f"out-{count}", folder / "killed"
    rng, parts, command = random.Random(seed), [], predict_command(data, out)
    while len(parts) < KILLS:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(timeout=rng.uniform(0.25, 0.75) * wall)
            shutil.rmtree(out)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            parts.append(len([place for place in (out / ".parts").glob("0*") if place.is_dir()]))
    subprocess.run(command, check=True, capture_output=True)
    tables = [pq.read_table(place / "values.parquet").to_pydict() for place in (whole, out)]
    assert tables[0]["id"] == tables[1]["id"], "rows differ"
    task = next(name for name in tables[0] if name not in ("id", "line"))
    gap = max(abs(a - b) for a, b in zip(tables[0][task], tables[1][task], strict=True))
    spread = max(tables[0][task]) - min(tables[0][task])
    return {
        "kills": KILLS,
        "parts_done_at_each": parts,
        "rows": len(tables[0]["id"]),
        "largest_difference": gap,
        "spread_of_values": spread,
    }


def main() -> None:
    """Measure, one process a point, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", help="internal: measure one point and print it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(student_point() if options.point == "student" else size_point(options.point)))
        return
    sizes = {}
    for name in (*SHAPES, "student"):
        command = [sys.executable, __file__, "--point", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sizes[name] = json.loads(done.stdout.strip().splitlines()[-1])
        print(name, json.dumps(sizes[name]), flush=True)
    student = sizes.pop("student")
    for own in sizes.values():
        own["times_the_student"] = own["seconds_a_row"] / student["seconds_a_row"]
    with tempfile.TemporaryDirectory() as name:
        predicted = predict_points(Path(name))
        killed = kills(Path(name), predicted[1]["wall_seconds"], options.seed)
    write_json(
        Path(__file__).parent / "results" / "value_cost.json",
        {
            "command": "python benchmarks/value_cost.py",
            "environment": environment(),
            "tokens": TOKENS,
            "student": student,
            "models": sizes,
            "predict": predicted,
            "kills": killed,
            "spearman_of_bfloat16_with_float32": rounding(),
        },
    )


if __name__ == "__main__":
    main()
