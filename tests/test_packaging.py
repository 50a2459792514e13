"""What pip installs: the files in a wheel, its metadata, and how an ordinary install behaves in a fresh environment."""

import email
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "licenses", "configs", "paddle_rtseg", "deploy/python")
# Entries of site-packages that the throw-away environments must not see.
NOT_BORROWED = ("paddle_rtseg", "rtseg_inference", "paddleseg", "__editable__")


def run(*command, folder, **environment):
    """Run a command away from this checkout; return its standard output."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PADDLE_RTSEG_AUTOLOAD")}
    result = subprocess.run(
        command, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(kind, source, output):
    """Build a "wheel" or an "sdist" with the setuptools of this environment; return its path."""
    code = f"import sys; from setuptools.build_meta import build_{kind} as build; print(build(sys.argv[1]))"
    return output / run(sys.executable, "-c", code, str(output), folder=source).split()[-1]


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A copy of what the package is built from, without leftovers of earlier builds."""
    for name, needed in (("setuptools", (77, 0)), ("pip", (22, 3))):
        version = importlib.metadata.version(name)
        if tuple(map(int, version.split(".")[:2])) < needed:
            pytest.skip(f"needs {name} {needed[0]}.{needed[1]} or later, got {version}; the dev extra has setuptools")
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(source, tmp_path_factory):
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def files(wheel):
    """Contents of the wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def new_environment(tmp_path):
    """A virtual environment that sees the dependencies installed here, but neither this package nor PaddleSeg."""
    run(sys.executable, "-m", "venv", "--without-pip", "environment", folder=tmp_path)
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for folder in (pathlib.Path(p) for p in sys.path if p.endswith("site-packages")):
        for entry in folder.iterdir():
            if (
                entry.suffix != ".pth"
                and not entry.name.startswith(NOT_BORROWED)
                and not (borrowed / entry.name).exists()
            ):
                (borrowed / entry.name).symlink_to(entry)
    site_packages = next((tmp_path / "environment" / "lib").glob("python3*")) / "site-packages"
    (site_packages / "zz_borrowed.pth").write_text(f"{borrowed}\n")
    return tmp_path / "environment" / "bin" / "python"


def pip(python, *arguments, folder):
    """Run pip in another environment, without a network."""
    offline = ("--no-index", "--no-build-isolation", "--disable-pip-version-check")
    return run(sys.executable, "-m", "pip", "--python", str(python), "install", *offline, *arguments, folder=folder)


@pytest.fixture
def installed(new_environment, wheel, tmp_path):
    """The Python of an environment into which the wheel was installed next to PaddleSeg."""
    import paddleseg

    (tmp_path / "borrowed" / "paddleseg").symlink_to(pathlib.Path(paddleseg.__file__).parent)
    pip(new_environment, "--no-deps", str(wheel), folder=tmp_path)
    return new_environment


def test_wheel_contains_every_module_and_config(files):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "paddle_rtseg").rglob("*.py")}
    predictor = {
        str(path.relative_to(ROOT / "deploy/python")) for path in ROOT.glob("deploy/python/rtseg_inference/*.py")
    }
    configs = {f"paddle_rtseg/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yml")}
    markers = {"paddle_rtseg/py.typed", "rtseg_inference/py.typed"}
    names = ("rtformer_slim_camvid", "segformerpp_b0_camvid", "lrformer_t_camvid", "segformerpp_b0_lspet")
    weights = {f"paddle_rtseg/weights/{name}.safetensors" for name in names}
    tables = {"paddle_rtseg/export/cuda_kernels.json"}
    assert configs and predictor
    content = {name for name in files if ".dist-info/" not in name}
    page = {str(path.relative_to(ROOT)) for path in (ROOT / "paddle_rtseg/serve/page").iterdir()}
    assert content == modules | predictor | configs | markers | weights | tables | page | {"paddle_rtseg.pth"}


def test_wheel_from_sdist_equals_the_wheel(source, files, tmp_path):
    shutil.unpack_archive(build("sdist", source, tmp_path), tmp_path / "unpacked")
    unpacked = next((tmp_path / "unpacked").iterdir())
    with zipfile.ZipFile(build("wheel", unpacked, tmp_path)) as archive:
        assert set(archive.namelist()) == set(files)


def test_licences_cover_code_and_weights(files):
    metadata = email.message_from_bytes(next(content for name, content in files.items() if name.endswith("METADATA")))
    references = [f"LicenseRef-{data}-NonCommercial" for data in ("CamVid", "LSPE")]
    assert metadata["License-Expression"] == " AND ".join(["Apache-2.0", *references])
    licences = {name.partition("/licenses/")[2]: text.decode() for name, text in files.items() if "/licenses/" in name}
    assert set(licences) == set(metadata.get_all("License-File"))
    assert "Apache License" in licences["LICENSE"]
    terms = [licences[f"licenses/{reference}.txt"] for reference in references]
    assert all(sum(name in text for text in terms) == 1 for name in files if name.endswith(".safetensors"))
    assert "CC BY-NC 4.0" in terms[0] and "states no licence" in terms[1]
    assert "NVIDIA Source Code License" in licences["licenses/SEGFORMER-WEIGHTS.md"]


def test_pth_hook_is_installed_once(installed, tmp_path):
    """In a virtual environment `site` reads site-packages twice."""
    code = "import sys; print([f.__name__ for f in sys.meta_path if getattr(f, '__name__', '') == 'WaitForPaddleSeg'])"
    assert run(installed, "-c", code, folder=tmp_path) == "['WaitForPaddleSeg']\n"
    assert run(installed, "-c", code, folder=tmp_path, PADDLE_RTSEG_AUTOLOAD="0") == "[]\n"


def test_config_by_name_from_any_folder(installed, tmp_path):
    code = (
        "from paddle_rtseg.config import load_config\n"
        "c = load_config('rtformer_slim_cityscapes_1024x512_120k')\n"  # includes two configs of _base_
        "print(c.model_cfg['type'], c.train_dataset_cfg['type'], c.iters)\n"
        "import paddle_rtseg; print(paddle_rtseg.__file__)"
    )
    lines = run(installed, "-c", code, folder=tmp_path).splitlines()
    assert lines[-2] == "RTFormer_Slim Cityscapes 120000"
    assert lines[-1].startswith(str(tmp_path / "environment"))


def test_paddleseg_checkout_survives_the_installation(new_environment, wheel, tmp_path):
    """Every checkout calls itself 0.0.0.dev0, older than any bound that could be put on PaddleSeg's releases."""
    checkout = tmp_path / "PaddleSeg"
    (checkout / "paddleseg").mkdir(parents=True)
    (checkout / "paddleseg" / "__init__.py").write_text("from . import models\n")
    (checkout / "paddleseg" / "models.py").touch()
    (checkout / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='paddleseg', version='0.0.0.dev0', packages=['paddleseg'])\n"
    )
    pip(new_environment, "--editable", str(checkout), folder=tmp_path)
    output = pip(new_environment, f"{wheel}[cpu]", folder=tmp_path)
    assert "uninstalled" not in output
    code = (
        "import importlib.metadata, importlib.util\n"
        "print(importlib.metadata.version('paddleseg'))\n"
        "print(importlib.util.find_spec('paddleseg').origin)"
    )
    version, origin = run(new_environment, "-c", code, folder=tmp_path, PADDLE_RTSEG_AUTOLOAD="0").split()
    assert version == "0.0.0.dev0"
    assert origin == str(checkout / "paddleseg" / "__init__.py")
