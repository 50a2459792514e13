"""Installs paddle_rtseg, the stand-alone predictor rtseg_inference, and the .pth line that PaddleSeg needs."""

import pathlib
import re

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import _StaticPth, editable_wheel

HERE = pathlib.Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "paddle_rtseg" / "__init__.py").read_text()).group(1)

PTH_NAME = "paddle_rtseg.pth"
# Run at the start of every Python, so it imports nothing and waits for somebody to import paddleseg. Where the
# package is gone or broken by then, it stands aside: importing paddle_rtseg by hand shows the reason.
PTH_SOURCE = """\
import os, sys

class WaitForPaddleSeg:
    def find_spec(name, path=None, target=None):
        if name == "paddleseg":
            sys.meta_path.remove(WaitForPaddleSeg)
            try:
                from paddle_rtseg.plugin import Finder
            except ImportError:
                return None
            return Finder.find_spec(name, path, target)

if os.environ.get("PADDLE_RTSEG_AUTOLOAD") != "0":
    sys.meta_path.insert(0, WaitForPaddleSeg)
"""
PTH_LINE = f"import sys; exec({PTH_SOURCE!r}, {{}})\n"  # `site` executes single lines that begin with "import"


class BuildWithPth(build_py):
    """Puts the .pth line at the root of the wheel, which is site-packages once installed."""

    def run(self):
        super().run()
        if not self.editable_mode:
            pathlib.Path(self.build_lib, PTH_NAME).write_text(PTH_LINE)

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), str(pathlib.Path(self.build_lib, PTH_NAME))]


class EditableWithPth(editable_wheel):
    """The same for `pip install -e`, whose wheel holds links instead of the built files.

    setuptools offers no public hook for either step; pyproject.toml pins the versions this was tried with.
    """

    def _run_build_commands(self, dist_name, unpacked_wheel, build_lib, tmp_dir):
        pathlib.Path(unpacked_wheel, PTH_NAME).write_text(PTH_LINE)
        return super()._run_build_commands(dist_name, unpacked_wheel, build_lib, tmp_dir)

    def _select_strategy(self, name, tag, build_lib):
        # Two plain path lines. The import finder that setuptools would choose costs every Python 10 ms at its start.
        return _StaticPth(self.distribution, name, [HERE, HERE / "deploy" / "python"])


setup(
    name="paddle_rtseg",
    version=VERSION,
    description="RTFormer, SegFormer++ and LRFormer for PaddleSeg, from a YAML line to a verified deployment",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.13",
    packages=[*find_packages(include=["paddle_rtseg", "paddle_rtseg.*"]), "rtseg_inference"],
    package_dir={"rtseg_inference": "deploy/python/rtseg_inference"},
    package_data={"paddle_rtseg": ["**/*.safetensors", "**/*.yml"]},
    cmdclass={"build_py": BuildWithPth, "editable_wheel": EditableWithPth},
    install_requires=[
        "paddleseg>=2.8.0",
        "numpy<2",  # PaddleSeg's OpenCV is built for NumPy 1
        "opencv-python",
        "pyyaml",
        "safetensors",
        "tqdm",
    ],
    extras_require={
        "cpu": ["paddlepaddle>=2.6.2,<3.4,!=3.1.*"],
        "gpu": ["paddlepaddle-gpu>=2.6.2,<3.4"],
        "onnx": ["paddle2onnx==2.1.0", "onnxruntime"],
        "dev": ["pytest", "ruff"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
