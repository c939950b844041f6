"""One tiny world for all tests of the screens; those that forget take a copy."""

import shutil

import pytest

from tests.explorer.clients import open_explorer
from tests.explorer.worlds import make_world


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def client(world, tmp_path_factory):
    return open_explorer(world, work=tmp_path_factory.mktemp("work"))


@pytest.fixture
def copy(world, tmp_path):
    """The world, to be changed."""
    shutil.copytree(world, tmp_path / "world")
    return tmp_path / "world"
