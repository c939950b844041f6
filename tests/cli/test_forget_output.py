"""What `unweave forget` tells a person."""

from pathlib import Path

from unweave.cli.show.forget import summary
from unweave.jobs.forget import ForgetResult

NAN = float("nan")


def test_a_training_method_tells_steps_and_losses():
    effect = {"forget_rows": 4, "forget_loss": [0.5, 2.25], "forget_begins": [4, 1]}
    effect |= {"retain_rows": 8, "retain_loss": [0.3, 0.875], "retain_begins": [8, 7]}
    plain = ForgetResult(Path("o"), "npo", 40, 1200, 20, 20, 20_480, 41.23, 0.5, 2.0, None, 20, {})
    assert summary(plain) == {
        "method": "npo",
        "rows": "40 to forget, 1,200 to keep",
        "seconds": "41.2",
        "steps": "20 of 20, 20,480 tokens",
        "forget rows": "loss 0.500 -> 2.000 nats a token, first and last step",
    }
    gone_back = ForgetResult(
        Path("o"), "ga", 4, 8, 17, 20, 99, 1.0, 0.5, 9.0, "diverged at step 17", 15, {"watched": [], "effect": effect}
    )
    lines = summary(gone_back)
    assert lines["steps"] == "17 of 20, 99 tokens; the adapter is that of step 15"
    assert lines["forget rows"] == "loss 0.500 -> 2.250 nats a token; answers that begin as the rows' do 4 -> 1 of 4"
    assert lines["retain rows"] == "loss 0.300 -> 0.875 nats a token; answers that begin as the rows' do 8 -> 7 of 8"
    assert lines["stopped"] == "diverged at step 17"
    assert "watched" not in lines


def test_an_edit_tells_its_numbers_and_no_steps():
    details = {"residual": 0.00989347, "products": 23, "target": None, "watched": []}
    lines = summary(ForgetResult(Path("o"), "llmeraser", 8, 32, 0, 0, 1946, 22.4, NAN, NAN, None, 0, details))
    assert lines == {
        "method": "llmeraser",
        "rows": "8 to forget, 32 to keep",
        "seconds": "22.4",
        "residual": "0.00989",
        "products": "23",
    }
