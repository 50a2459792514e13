"""PaddleSeg sees this package without a line of user code, and nobody else notices it."""

import importlib.machinery
import os
import subprocess
import sys

import pytest

from paddle_rtseg.plugin import PADDLESEG_COMMANDS, Finder


def python(*arguments, folder, **environment):
    """Run a fresh Python in ``folder``, where neither this checkout nor anything else can be imported by accident."""
    environment = {**{k: v for k, v in os.environ.items() if k != "PADDLE_RTSEG_AUTOLOAD"}, **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_paddleseg_knows_the_models_although_nobody_named_this_package(tmp_path):
    code = (
        "from paddleseg.cvlibs import manager\n"
        "print(manager.MODELS['RTFormer_Slim'].__module__, manager.MODELS['RTFormer'].__module__)"
    )
    result = python("-c", code, folder=tmp_path)
    assert result.stdout.split()[-2:] == ["paddle_rtseg.models.rtformer", "paddleseg.models.rtformer"], result.stderr


@pytest.mark.parametrize("order", ["paddleseg, paddle_rtseg", "paddle_rtseg, paddleseg"])
def test_switched_off_it_waits_for_an_import_by_hand(tmp_path, order):
    code = (
        "import zlib\n"  # Paddle 2.6 may crash without; switched on, the plug-in does it
        "from paddleseg.cvlibs import manager\n"
        "print('RTFormer_Slim' in manager.MODELS.components_dict)\n"
        f"import {order}\n"
        "print('RTFormer_Slim' in manager.MODELS.components_dict)"
    )
    result = python("-c", code, folder=tmp_path, PADDLE_RTSEG_AUTOLOAD="0")
    assert result.stdout.split()[-2:] == ["False", "True"], result.stderr


def test_a_python_without_paddleseg_imports_nothing_of_ours(tmp_path):
    code = "import sys; print([m for m in sys.modules if m.startswith(('paddle', 'numpy', 'cv2'))])"
    assert python("-c", code, folder=tmp_path).stdout == "[]\n"


def test_paddleseg_imports_where_this_package_was_half_removed(tmp_path):
    site_packages = [p for p in sys.path if os.path.exists(os.path.join(p, "paddle_rtseg.pth"))]
    assert site_packages, "paddle_rtseg.pth is not installed"
    with open(os.path.join(site_packages[0], "paddle_rtseg.pth")) as f:
        line = next(line for line in f if line.startswith("import"))
    (tmp_path / "paddleseg.py").write_text("value = 3")
    code = f"import sys; sys.path.insert(0, '.')\n{line}\nimport paddleseg; print(paddleseg.value)"
    result = python("-I", "-S", "-c", code, folder=tmp_path)  # without site-packages there is no paddle_rtseg
    assert (result.stdout, result.stderr) == ("3\n", "")


@pytest.mark.parametrize("command", PADDLESEG_COMMANDS)
def test_commands_have_two_names(tmp_path, command):
    ours = python("-m", f"paddle_rtseg.{command}", "--help", folder=tmp_path)
    theirs = python("-m", f"paddleseg.{command}", "--help", folder=tmp_path)
    assert ours.returncode == theirs.returncode == 0, theirs.stderr
    assert "--config" in ours.stdout and ours.stdout == theirs.stdout


def test_a_command_of_paddlesegs_own_is_preferred(monkeypatch):
    own = importlib.machinery.ModuleSpec("paddleseg.train", loader=None)

    class Other:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return own if name == "paddleseg.train" else None

    monkeypatch.setattr(sys, "meta_path", [Finder, Other])
    assert Finder.find_spec("paddleseg.train") is own
    assert Finder.find_spec("paddleseg.val").origin.endswith("val.py")
    assert Finder.find_spec("paddleseg.nothing") is None
