"""PaddleSeg with and without a patch, and images to train on."""

import contextlib

import pytest
from tiny_training import make_images

from paddle_rtseg.compat import PATCHES
from paddle_rtseg.compat.patch import paddle_version


@pytest.fixture(scope="session")
def without():
    """``with without("name")``: PaddleSeg as it is, without the patch of this name."""
    patches = {patch.name: patch for patch in PATCHES}

    @contextlib.contextmanager
    def unpatched(name):
        was_in_place = patches[name].undo()
        assert was_in_place == (paddle_version() >= patches[name].paddle)
        try:
            yield
        finally:
            assert patches[name].apply() == was_in_place

    return unpatched


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory):
    """The folder that :func:`tiny_training.make_images` fills."""
    return make_images(tmp_path_factory.mktemp("tiny"))
