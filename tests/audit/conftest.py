"""A small case and a tiny model on disk, for the tests that audit one with the other."""

import pytest

from tests.folders import save_model
from unweave.data.case import CaseConfig, make_case


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(
        CaseConfig(clean_rows=40, poisoned_rows=9, retain_rows=12, test_rows=6, clean_test_rows=20),
        tmp_path_factory.mktemp("case"),
    )


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "base")
