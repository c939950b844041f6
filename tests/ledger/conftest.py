"""What ledgers are about, for the tests of requests."""

import pytest

from tests.ledger.ledgers import train_in


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_in(tmp_path_factory.mktemp("trained"))
