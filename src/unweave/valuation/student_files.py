"""A student of values in a folder: weights, a card, and the description that makes it one."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from unweave.errors import ModelError
from unweave.files import read_json, write_json, write_text
from unweave.models.loading import native_dtype, pick_device
from unweave.models.pretrained import read_pretrained, read_weights, require_finite
from unweave.models.quiet import quiet_transformers
from unweave.models.saving import save_model
from unweave.models.tensor_files import read_header
from unweave.replacing import replacing, replacing_folder
from unweave.valuation.config import FitOptions
from unweave.valuation.kernel import KernelHead
from unweave.valuation.spec import Calibration, StudentSpec

if TYPE_CHECKING:
    from unweave.valuation.student import ValueStudent

RECORD = "student.json"


def write_student(student: "ValueStudent", folder: Path | str, spec: StudentSpec, card: str) -> None:
    """Write a student. Its description is written last: without it there is no student.

    Args:
        student: The student.
        folder: Where to; other files in it are left alone.
        spec: Its description.
        card: Its card.

    Raises:
        ModelError: When a weight of it is not finite.
    """
    require_finite(student.state_dict().items(), where="the student")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / RECORD).unlink(missing_ok=True)
    # A backbone that was never trained is found by its name.
    if not student.spec.kernel:
        with replacing_folder(path / "backbone") as out:
            save_model(student.backbone, student.tokenizer, out)
    with replacing(path / "head.safetensors") as out:
        save_file({name: own.detach().cpu().contiguous() for name, own in student.head.state_dict().items()}, out)
    write_text(path / "README.md", card)
    write_json(path / RECORD, asdict(spec))


def read_student(made: type["ValueStudent"], folder: Path, *, device: str, dtype: str | None) -> "ValueStudent":
    """Read what `write_student` wrote.

    Args:
        made: The class of the student.
        folder: Where it lies.
        device: Where to run it.
        dtype: As for `ValueStudent.from_pretrained`.

    Returns:
        The student, in evaluation mode.

    Raises:
        ModelError: When the folder holds none, or its files are broken.
    """
    from transformers import AutoModel, AutoTokenizer

    if not (folder / RECORD).is_file():
        raise ModelError("There is no student here.", where=str(folder), remedy="make one with `unweave value fit`")
    record = read_json(folder / RECORD, what="The student's description")
    calibration = {name: Calibration(**own) for name, own in record.pop("calibration").items()}
    spec = StudentSpec(**{**record, "tasks": tuple(record["tasks"]), "calibration": calibration})
    if spec.kernel:
        kernel = FitOptions(student=spec.backbone, student_length=spec.max_length, device="cpu", loss="kernel")
        begun = made.begin(spec.tasks, kernel)
        backbone, tokenizer = begun.backbone, begun.tokenizer
    else:
        with quiet_transformers():
            backbone = read_weights(AutoModel, folder / "backbone", only_body=True, dtype=torch.float32)
            tokenizer = read_pretrained(AutoTokenizer, folder / "backbone")
    student = made(backbone, tokenizer, spec)
    read_header(folder / "head.safetensors")
    head = load_file(folder / "head.safetensors")
    if spec.kernel:
        rows, width = head["support"].shape
        student.head = KernelHead(rows, width, len(spec.tasks))
    student.head.load_state_dict(head)
    require_finite(student.state_dict().items(), where=str(folder))
    place = pick_device(device)
    dtype = dtype or ("auto" if spec.kernel else "float32")
    student.backbone.to(native_dtype(place) if dtype == "auto" else getattr(torch, dtype))
    return student.to(place).eval()
