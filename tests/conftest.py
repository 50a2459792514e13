"""Settings and fixtures that the tests of several rooms share."""

import contextlib
import signal
import subprocess
import zlib  # noqa: F401  Paddle 2.6 carries an old zlib that must not be the first one found

import cv2
import pytest
from rtseg_inference import environment

environment.configure()  # before any test imports paddle
# The background of a shell ignores Ctrl-C, and so would the processes to which tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def without():
    """``with without("name")``: PaddleSeg as it is, without the patch of this name."""
    from paddle_rtseg.compat.patch import paddle_version
    from paddle_rtseg.compat.patches import PATCHES

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
    from tiny_training import make_images

    return make_images(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def model():
    """The tiny network."""
    from tiny_network import tiny

    return tiny()


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    """Folders of the tiny network, by output op; one export for all tests, so they must not change it."""
    from tiny_network import PREPROCESSING

    from paddle_rtseg.export.exporter import export_model

    class Folders(dict):
        def __missing__(self, output_op):
            folder = str(tmp_path_factory.mktemp(output_op) / "model")
            self[output_op] = export_model(model, folder, PREPROCESSING, output_op=output_op)
            return self[output_op]

    return Folders()


@pytest.fixture(scope="session")
def exported_pose(tmp_path_factory):
    """Folder of the network that finds dots; tests must not change it."""
    from tiny_pose import PREPROCESSING, dots, pose

    from paddle_rtseg.export.exporter import export_model

    return export_model(dots(), str(tmp_path_factory.mktemp("pose") / "model"), PREPROCESSING, pose=pose())


@pytest.fixture(scope="session")
def exported_int8(model, tmp_path_factory):
    """Folder of the tiny network's logits with its ONNX forms, INT8's among them; tests must not change it."""
    from tiny_int8 import export_in_int8, skip_without_quantiser

    skip_without_quantiser()
    return export_in_int8(model, tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="session")
def frame():
    """A street image, (360, 480, 3) uint8 BGR."""
    from tiny_network import FRAMES

    return cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def no_ipp():
    """cv2.resize as every build of OpenCV computes it: without Intel's IPP, which only some have."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    yield
    cv2.ipp.setUseIPP(before)
