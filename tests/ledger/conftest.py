"""What ledgers are about, for the tests of requests."""

import pytest

from tests.ledger.ledgers import train_in


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Once for all files of a process: whoever changes it puts back what was there."""
    return train_in(tmp_path_factory.mktemp("trained"))
