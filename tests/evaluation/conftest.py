"""A small case and a tiny model on disk, and what ledgers are about, for the tests of audits and ledgers."""

import pytest

from tests.folders import save_model
from tests.ledger.ledgers import train_in
from unweave.experiments.case import CaseConfig, make_case


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(
        CaseConfig(clean_rows=40, poisoned_rows=9, retain_rows=12, test_rows=6, clean_test_rows=20),
        tmp_path_factory.mktemp("case"),
    )


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_in(tmp_path_factory.mktemp("trained"))
