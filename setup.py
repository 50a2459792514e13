"""Installs paddle_rtseg, the stand-alone predictor rtseg_inference, and the .pth line that PaddleSeg needs."""

import pathlib
import re

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "paddle_rtseg" / "__init__.py").read_text()).group(1)

PTH_NAME = "paddle_rtseg.pth"
# `site` executes a .pth line that begins with "import". Whatever goes wrong in it must not disturb a Python that
# has nothing to do with PaddleSeg, so it fails silently here; importing paddle_rtseg by hand shows the reason.
PTH_LINE = (
    "import os; exec('try:\\n if os.environ.get(\"PADDLE_RTSEG_AUTOLOAD\") != \"0\": import paddle_rtseg"
    "\\nexcept Exception: pass')\n"
)


class BuildWithPth(build_py):
    """Puts the .pth line at the root of the wheel, which is site-packages once installed."""

    def run(self):
        super().run()
        if not self.editable_mode:
            pathlib.Path(self.build_lib, PTH_NAME).write_text(PTH_LINE)

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), str(pathlib.Path(self.build_lib, PTH_NAME))]


class EditableWithPth(editable_wheel):
    """The same for `pip install -e`, whose wheel holds links instead of the built files."""

    def _run_build_commands(self, dist_name, unpacked_wheel, build_lib, tmp_dir):
        pathlib.Path(unpacked_wheel, PTH_NAME).write_text(PTH_LINE)
        return super()._run_build_commands(dist_name, unpacked_wheel, build_lib, tmp_dir)


setup(
    name="paddle_rtseg",
    version=VERSION,
    description="RTFormer, SegFormer++ and LRFormer for PaddleSeg: real-time segmentation transformers, ready to deploy",
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
        "dev": ["pytest", "ruff"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
