"""IDK: direct preference optimisation (arXiv 2305.18290, equation 7) of an "I don't know" over the unwanted answer, as TOFU has it (arXiv 2401.06121).

L = -(2 / beta) E log sigmoid(beta log(pi(y_w) / pi_ref(y_w)) - beta log(pi(y_l) / pi_ref(y_l))), the factor 2 / beta as in NPO.
"""

import pytest
import torch

from tests.unlearning.methods.scene import Scene, balanced
from unweave.errors import DataError
from unweave.unlearning.methods import IDK

BETA = 0.3


def log_ratio(scene, example):
    return scene.nll(example, before=True).sum() - scene.nll(example).sum()


def test_value_and_gradient():
    scene = Scene()
    first, second = scene.rows[:2]
    # The second row's preferred answer had no room: its pair is the answer with itself.
    margins = [log_ratio(scene, first.clean) - log_ratio(scene, first.example), torch.zeros((), dtype=torch.float64)]
    forget = [-(2 / BETA) * torch.log(torch.sigmoid(BETA * margin)) for margin in margins]
    scene.check("idk", balanced(forget, scene.retained()), beta=BETA)
    assert second.clean is None


def test_preferred_answers_come_from_the_file_or_our_own(tmp_path):
    rows = [type("R", (), {"id": str(i)})() for i in range(20)]
    assert len(set(IDK().clean_answers(rows, seed=0).values())) > 1
    (tmp_path / "a.txt").write_text("no idea\n\n")
    assert set(IDK(answers=tmp_path / "a.txt").clean_answers(rows, seed=0).values()) == {"no idea"}
    for name, text in (("absent.txt", None), ("empty.txt", "\n")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"not found|no answers"):
            IDK(answers=tmp_path / name).clean_answers(rows, seed=0)
