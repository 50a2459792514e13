"""What pyproject.toml cannot say: where the packages and the configs lie, and the .pth line that PaddleSeg needs."""

import pathlib

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import _StaticPth, editable_wheel

HERE = pathlib.Path(__file__).resolve().parent

PTH_NAME = "paddle_rtseg.pth"
# Runs whenever Python starts, so it imports nothing and waits until somebody imports paddleseg. If the package is gone
# or broken by then, it does nothing; importing paddle_rtseg by hand shows the reason. In a virtual environment `site`
# reads the folder twice, hence the check of what is there already.
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

installed = [getattr(finder, "__name__", "") for finder in sys.meta_path]
if os.environ.get("PADDLE_RTSEG_AUTOLOAD") != "0" and WaitForPaddleSeg.__name__ not in installed:
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
    packages=[*find_packages(include=["paddle_rtseg", "paddle_rtseg.*"]), "rtseg_inference", "paddle_rtseg.configs"],
    package_dir={"rtseg_inference": "deploy/python/rtseg_inference", "paddle_rtseg.configs": "configs"},
    package_data={
        "paddle_rtseg": ["py.typed", "**/*.safetensors", "export/*.json", "serve/page/*"],
        "paddle_rtseg.configs": ["**/*.yml"],
        "rtseg_inference": ["py.typed"],
    },
    cmdclass={"build_py": BuildWithPth, "editable_wheel": EditableWithPth},
)
