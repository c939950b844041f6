"""What the hub's refusals are turned into."""

from types import SimpleNamespace

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

from unweave.errors import ModelError
from unweave.models import bases, pretrained
from unweave.models.hub import writing_to
from unweave.models.tokenizers import load_tokenizer


def refused(kind, status):
    error = kind.__new__(kind)
    Exception.__init__(error, f"{status}")
    error.response = SimpleNamespace(status_code=status)
    return error


def test_a_gated_model_is_explained():
    wrapped = OSError("You are trying to access something.")
    wrapped.__cause__ = refused(GatedRepoError, 403)
    said = str(bases._refused(wrapped, "meta/llama"))
    assert "only to those whom its owners let in" in said
    assert "https://huggingface.co/meta/llama" in said
    assert "hf auth login" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused(HfHubHTTPError, 403), "does not let this token write"),
        (refused(HfHubHTTPError, 500), "status 500"),
        (HFValidationError("no"), "give owner/name"),
    ],
)
def test_a_refused_upload_says_what_to_do(error, said):
    with pytest.raises(ModelError, match=said), writing_to("owner/name"):
        raise error


def test_a_gated_model_is_explained_by_whoever_asks_for_it_first(monkeypatch):
    def gated(*_, **__):
        raise OSError("You are trying to access a gated repo.")

    monkeypatch.setattr(pretrained, "read_pretrained", gated)
    with pytest.raises(ModelError, match=r"huggingface\.co/meta/llama, then log in"):
        load_tokenizer("meta/llama", revision=None, adapter=None)
