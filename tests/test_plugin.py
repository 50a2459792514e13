"""The package registers itself with PaddleSeg, and a Python that does not use PaddleSeg is unaffected."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys

import paddleseg  # noqa: F401  registers this package
import pytest

from paddle_rtseg import plugin
from paddle_rtseg.compat import patches
from paddle_rtseg.plugin import OWN_COMMANDS, PADDLESEG_COMMANDS, Finder


def python(*arguments, folder, **environment):
    """Run a fresh Python in ``folder``, where nothing can be imported by accident."""
    environment = {**{k: v for k, v in os.environ.items() if k != "PADDLE_RTSEG_AUTOLOAD"}, **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_models_register_themselves(tmp_path):
    code = (
        "from paddleseg.cvlibs import manager\n"
        "print(manager.MODELS['RTFormer_Slim'].__module__, manager.MODELS['RTFormer'].__module__)"
    )
    result = python("-c", code, folder=tmp_path)
    assert result.stdout.split()[-2:] == ["paddle_rtseg.models.rtformer", "paddleseg.models.rtformer"], result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("order", ["paddleseg, paddle_rtseg", "paddle_rtseg, paddleseg"])
def test_autoload_off_until_imported(tmp_path, order):
    code = (
        "import zlib\n"  # Paddle 2.6 may crash without it; the plug-in imports it otherwise
        "from paddleseg.cvlibs import manager\n"
        "print('RTFormer_Slim' in manager.MODELS.components_dict)\n"
        f"import {order}\n"
        "print('RTFormer_Slim' in manager.MODELS.components_dict)"
    )
    result = python("-c", code, folder=tmp_path, PADDLE_RTSEG_AUTOLOAD="0")
    assert result.stdout.split()[-2:] == ["False", "True"], result.stderr


def test_nothing_is_imported_without_paddleseg(tmp_path):
    code = "import sys; print([m for m in sys.modules if m.startswith(('paddle', 'numpy', 'cv2'))])"
    assert python("-c", code, folder=tmp_path).stdout == "[]\n"


def test_paddleseg_imports_if_only_the_pth_file_is_left(tmp_path):
    site_packages = [p for p in sys.path if os.path.exists(os.path.join(p, "paddle_rtseg.pth"))]
    assert site_packages, "paddle_rtseg.pth is not installed"
    with open(os.path.join(site_packages[0], "paddle_rtseg.pth")) as f:
        line = next(line for line in f if line.startswith("import"))
    (tmp_path / "paddleseg.py").write_text("value = 3")
    code = f"import sys; sys.path.insert(0, '.')\n{line}\nimport paddleseg; print(paddleseg.value)"
    result = python("-I", "-S", "-c", code, folder=tmp_path)  # no site-packages, so no paddle_rtseg
    assert (result.stdout, result.stderr) == ("3\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("command", PADDLESEG_COMMANDS)
def test_commands_have_two_names(tmp_path, command):
    ours = python("-m", f"paddle_rtseg.{command}", "--help", folder=tmp_path)
    theirs = python("-m", f"paddleseg.{command}", "--help", folder=tmp_path)
    assert ours.returncode == theirs.returncode == 0, theirs.stderr
    assert "--config" in ours.stdout and ours.stdout == theirs.stdout


def test_a_command_of_paddleseg_takes_precedence(monkeypatch):
    own = importlib.machinery.ModuleSpec("paddleseg.train", loader=None)

    class Other:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return own if name == "paddleseg.train" else None

    monkeypatch.setattr(sys, "meta_path", [Finder, Other])
    assert Finder.find_spec("paddleseg.train") is own
    assert Finder.find_spec("paddleseg.val").origin.endswith("val.py")
    assert Finder.find_spec("paddleseg.nothing") is None


@pytest.mark.parametrize("command", PADDLESEG_COMMANDS + OWN_COMMANDS)
def test_a_command_may_share_its_name_with_a_subpackage(command):
    """Then the subpackage is imported by the name, and its ``__main__`` is the command."""
    spec = importlib.util.find_spec(f"paddle_rtseg.{command}")
    if spec.submodule_search_locations:
        assert os.path.isfile(os.path.join(spec.submodule_search_locations[0], "__main__.py"))
    else:
        assert spec.origin.endswith(os.path.join("tools", f"{command}.py"))


def test_submodules_need_no_import_of_their_own(tmp_path):
    code = (
        "import sys, paddle_rtseg\n"
        "assert not {'paddle', 'numpy', 'paddle_rtseg.weights'} & set(sys.modules)\n"
        "print(paddle_rtseg.weights.convert.__module__, 'paddle' in sys.modules, paddle_rtseg.zoo.__name__)\n"
        "print('weights' in dir(paddle_rtseg), hasattr(paddle_rtseg, 'nothing'))"
    )
    result = python("-c", code, folder=tmp_path)
    assert result.stdout.split() == ["paddle_rtseg.weights", "False", "paddle_rtseg.zoo", "True", "False"], (
        result.stderr
    )


@pytest.mark.parametrize("version", ["2.8.0", "2.9.1", "3.0.0rc", "0.0.0.dev0", ""])
def test_supported_paddleseg(version, monkeypatch):
    monkeypatch.setattr(sys.modules["paddleseg"], "__version__", version)
    plugin.register()


@pytest.mark.parametrize("version", ["2.7.0", "2.0.0-rc", "0.8.0"])
def test_paddleseg_too_old(version, monkeypatch):
    monkeypatch.setattr(sys.modules["paddleseg"], "__version__", version)
    with pytest.raises(
        ImportError, match=rf"^expected PaddleSeg 2\.8\.0 or later, got {version}; .*PADDLE_RTSEG_AUTOLOAD=0"
    ):
        plugin.register()


def test_excluded_paddle(monkeypatch):
    monkeypatch.setattr(patches, "apply", lambda: None)  # those of Paddle 3 would break a running Paddle 2
    monkeypatch.setattr(sys.modules["paddle"], "__version__", "3.1.1")
    with pytest.warns(UserWarning, match=r"expected Paddle .*, got 3\.1\.1, .*; install another release"):
        plugin.register()
    assert plugin.paddle_problem("3.3.1") is plugin.paddle_problem("2.6.2") is None


def test_extras_exclude_what_the_warning_names():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(root, "pyproject.toml")) as f:
        extras = [line for line in f if line.startswith(("cpu =", "gpu ="))]
    assert len(extras) == 2 and all(f"!={plugin.EXCLUDED_PADDLE}*" in line for line in extras)
