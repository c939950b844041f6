"""One tiny world for all tests of the screens; those that forget take a copy."""

import shutil

import pytest
from starlette.testclient import TestClient

from tests.explorer.worlds import make_world
from unweave.explorer.app import make_app
from unweave.explorer.config import ServeConfig
from unweave.explorer.workspace import Workspace

ADDRESS = "http://127.0.0.1:8765"


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def open_explorer(folder, **options):
    """A client of a new server, as a browser on one of its pages asks."""
    app = make_app(Workspace(ServeConfig(path=folder / "store", **options)))
    return TestClient(app, base_url=ADDRESS, headers={"Origin": ADDRESS})


@pytest.fixture(scope="module")
def client(world, tmp_path_factory):
    return open_explorer(world, work=tmp_path_factory.mktemp("work"))


@pytest.fixture
def copy(world, tmp_path):
    """The world, to be changed."""
    shutil.copytree(world, tmp_path / "world")
    return tmp_path / "world"
