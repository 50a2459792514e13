"""The tiny network as exported folders, and a street image."""

import cv2
import pytest
from tiny_network import FRAMES, PREPROCESSING, tiny

from paddle_rtseg.deploy.exporter import export_model


@pytest.fixture(scope="session")
def model():
    return tiny()


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    """Folders of the tiny network, by output op; one export for all tests, so they must not change it."""

    class Folders(dict):
        def __missing__(self, output_op):
            folder = str(tmp_path_factory.mktemp(output_op) / "model")
            self[output_op] = export_model(model, folder, PREPROCESSING, output_op=output_op)
            return self[output_op]

    return Folders()


@pytest.fixture(scope="session")
def frame():
    """A street image, (360, 480, 3) uint8 BGR."""
    return cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))


@pytest.fixture
def no_ipp():
    """cv2.resize as every build of OpenCV computes it: without Intel's IPP, which only some have."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    yield
    cv2.ipp.setUseIPP(before)
