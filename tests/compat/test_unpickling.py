"""PaddleSeg loads weights, checkpoints and archives without running anything that they contain."""

import argparse
import ast
import io
import os
import pathlib
import pickle
import sys
import tarfile
import types

import numpy as np
import paddle
import paddleseg
import pytest
import tiny_training
from hostile import Command
from paddleseg.models.backbones import CAE, VisionTransformer  # noqa: F401  their modules are patched
from paddleseg.utils import download, utils
from tiny_configs import run_command, tiny_config, write_config

from paddle_rtseg.compat import patches
from paddle_rtseg.errors import InputError

ASKS = r"asks for (posix|nt)\.system, which no tensor needs, and was not executed"


@pytest.fixture
def trace(tmp_path):
    """The file that the command in :func:`bad` creates."""
    return tmp_path / "trace"


@pytest.fixture
def bad(tmp_path, trace):
    """A file of weights with a command in it."""
    path = tmp_path / "bad.pdparams"
    path.write_bytes(pickle.dumps({"head.weight": Command(trace)}, protocol=4))
    return str(path)


def test_pretrained_weights(without, bad, trace):
    network = tiny_training.PixelNet()
    with pytest.raises(InputError, match=ASKS):
        utils.load_entire_model(network, bad)
    assert not trace.exists()
    with without("pretrained weights, not executed"), pytest.raises(Exception, match="int"):
        utils.load_entire_model(network, bad)
    assert trace.exists()


def test_pretrained_weights_are_loaded(tmp_path):
    network, other = tiny_training.PixelNet(), tiny_training.PixelNet()
    path = str(tmp_path / "x.pdparams")
    paddle.save(other.state_dict(), path)
    utils.load_entire_model(network, path)
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), other.state_dict()[name].numpy())


def test_folder_as_pretrained_weights(tmp_path):
    """``paddle.load`` unpickles what lies in the folder of an exported program."""
    with pytest.raises(InputError, match=r"Is a directory|not a regular file"):
        utils.load_entire_model(tiny_training.PixelNet(), str(tmp_path))


@pytest.mark.parametrize("name", ["model.pdparams", "model.pdopt"])
def test_resume(without, tiny_images, tmp_path, bad, trace, name):
    tiny_training.run(tiny_images, tmp_path, 2)
    resume = tmp_path / "iter_2"
    os.replace(bad, resume / name)
    with pytest.raises(InputError, match=ASKS):
        tiny_training.run(tiny_images, tmp_path, 3, resume_model=str(resume))
    assert not trace.exists()
    with without("checkpoints, not executed"), pytest.raises(Exception, match=r".+"):
        tiny_training.run(tiny_images, tmp_path, 3, resume_model=str(resume))
    assert trace.exists()


@pytest.mark.parametrize(
    "module, network, patch",
    [
        ("vision_transformer", "VisionTransformer", "position embedding of VisionTransformer, not executed"),
        ("cae", "CAE", "position embedding of CAE, not executed"),
    ],
)
def test_position_embedding(without, monkeypatch, bad, trace, module, network, patch):
    module = sys.modules[f"paddleseg.models.backbones.{module}"]
    monkeypatch.setattr(utils, "load_pretrained_model", lambda model, path: None)
    half_built = types.SimpleNamespace(pretrained=bad, state_dict=dict)
    with pytest.raises(InputError, match=ASKS):
        getattr(module, network).init_weight(half_built)
    assert not trace.exists()
    with without(patch):
        getattr(module, network).init_weight(half_built)
    assert trace.exists()


@pytest.mark.parametrize(
    "module, block, patch",
    [
        ("vision_transformer", "Block", "norm_layer of vision_transformer.Block, not executed"),
        ("vision_transformer", "VisionTransformer", "norm_layer of vision_transformer.VisionTransformer, not executed"),
        ("cae", "Block", "norm_layer of cae.Block, not executed"),
    ],
)
def test_norm_layer(without, monkeypatch, trace, module, block, patch):
    block = getattr(sys.modules[f"paddleseg.models.backbones.{module}"], block)
    sizes = {"dim": 8, "num_heads": 2} if block.__name__ == "Block" else {"embed_dim": 8, "depth": 0, "num_heads": 2}
    if hasattr(block, "init_weight"):
        monkeypatch.setattr(block, "init_weight", lambda network: None)
        sizes["final_norm"] = True
    block(**sizes, norm_layer="nn.LayerNorm")
    command = f"__import__('os').system('touch {trace}')"
    for name in (command, f"nn.{command}", "nn.functional", "nn.Nothing", None):
        with pytest.raises(InputError, match=r"expected the name of a layer such as 'nn\.LayerNorm'"):
            block(**sizes, norm_layer=name)
    assert not trace.exists()
    with without(patch), pytest.raises(TypeError):
        block(**sizes, norm_layer=command)
    assert trace.exists()


def test_exported_weights(without, tiny_images, tmp_path, bad, trace):
    export = pytest.importorskip("paddleseg.core.export", reason="only PaddleSeg's develop branch has it").export
    config = write_config(tmp_path / "config.yml", tiny_config(tiny_images))
    arguments = argparse.Namespace(config=config, model_path=bad, save_dir=str(tmp_path), output_op="argmax")
    with pytest.raises(InputError, match=ASKS):
        export(arguments)
    with without("exported weights, not executed"), pytest.raises(Exception, match=r".+"):
        export(arguments)
    assert trace.exists()


@pytest.mark.parametrize("kind, name, link", [("0", "../out", ""), ("2", "inside", "../out"), ("6", "pipe", "")])
def test_archives_stay_in_their_folder(without, tmp_path, kind, name, link):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind.encode(), link
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(member, io.BytesIO())
    (tmp_path / "folder").mkdir()
    extract = lambda: list(download._uncompress_file_tar(tmp_path / "x.tar", str(tmp_path / "folder"), "r"))  # noqa: E731
    with pytest.raises(InputError, match="which leads elsewhere"):
        extract()
    assert sorted(os.listdir(tmp_path)) == ["folder", "x.tar"] and not os.listdir(tmp_path / "folder")
    with without("archives stay in their folder"):
        extract()
    assert len(os.listdir(tmp_path)) + len(os.listdir(tmp_path / "folder")) == 3


def test_archives_are_extracted(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model.pdparams").write_bytes(b"weights")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "x", "x")
    list(download._uncompress_file_tar(tmp_path / "x.tar", str(tmp_path / "folder"), "r"))
    assert (tmp_path / "folder" / "x" / "model.pdparams").read_bytes() == b"weights"


def callers(tree, names, where=""):
    """Where a module calls one of ``names``: "function" or "Class.function"."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield where
        inner = f"{where}.{node.name}" if isinstance(node, (ast.ClassDef, ast.FunctionDef)) else where
        yield from callers(node, names, inner)


def test_paddleseg_unpickles_nowhere_else():
    root = pathlib.Path(paddleseg.__path__[0])
    names = {"paddle.load", "pickle.load", "pickle.loads", "torch.load", "joblib.load"}
    found = set()
    for path in root.rglob("*.py"):
        module = ".".join(("paddleseg", *path.relative_to(root).with_suffix("").parts))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {f"{module}:{where[1:]}" for where in callers(tree, names)}
    assert len(found) >= 4
    assert found - {patch.where for patch in patches.PATCHES} == set()


@pytest.mark.parametrize("command", ["train", "val", "predict", "export"])
@pytest.mark.parametrize("network", ["RTFormer_Slim", "BiSeNetV2"])
def test_commands(tiny_images, tmp_path, bad, trace, command, network):
    """Trained weights and those that training starts from, of our networks and PaddleSeg's."""
    content = tiny_config(tiny_images)
    if network == "BiSeNetV2":
        content["model"] = {"type": network, "num_classes": 4}
    content["model"]["pretrained"] = bad
    arguments = ["--config", write_config(tmp_path / "config.yml", content)]
    arguments += [] if command == "val" else ["--save_dir", tmp_path / "out"]
    arguments += ["--image_path", tiny_images] if command == "predict" else []
    with pytest.raises(InputError, match=ASKS):
        run_command(command, *arguments)
    if command != "train":
        with pytest.raises(InputError, match=ASKS):
            run_command(command, *arguments, "--model_path", bad)
    assert not trace.exists()


@pytest.mark.parametrize("resume", ["auto", "iter_2"])
def test_train_command_resumes(tiny_images, tmp_path, bad, trace, resume):
    config = write_config(tmp_path / "config.yml", tiny_config(tiny_images))
    out = tmp_path / "out"
    settings = ["--config", config, "--save_dir", out, "--save_interval", 2]
    run_command("train", *settings, "--iters", 2)
    os.replace(bad, out / "iter_2" / "model.pdopt")
    with pytest.raises(InputError, match=ASKS):
        run_command("train", *settings, "--iters", 4, "--resume_model", out / resume if resume != "auto" else resume)
    assert not trace.exists()
