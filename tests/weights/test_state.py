"""Reading, writing and loading weights: files that the frameworks wrote, and hostile ones."""

import collections
import functools
import hashlib
import http.server
import os
import pickle
import shutil
import tarfile
import threading
import zipfile

import numpy as np
import paddle
import pytest

from paddle_rtseg.errors import InputError
from paddle_rtseg.weights import fetch, load_weights, read_state, save_state

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")


def same(a, b):
    return a.keys() == b.keys() and all(
        np.asarray(a[k]).dtype == np.asarray(b[k]).dtype and np.array_equal(a[k], b[k]) for k in a
    )


@pytest.fixture
def model():
    paddle.seed(0)
    return paddle.nn.Sequential(
        ("stem", paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))),
        ("head", paddle.nn.Linear(4, 5)),
    )


def state_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_torch_files(layout):
    # Files and arrays written by PyTorch 2.13: shared storages, transposed and sliced views, every common type.
    expected = dict(np.load(os.path.join(FIXTURES, "torch_expected.npz")))
    assert same(read_state(os.path.join(FIXTURES, f"torch_{layout}.pth")), expected)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_paddle_files(model, tmp_path, protocol):
    path = str(tmp_path / "model.pdparams")
    paddle.save(model.state_dict(), path, protocol=protocol)
    assert same(read_state(path), state_of(model))


def test_paddle_state_inside_a_training_checkpoint(model, tmp_path):
    # Nested, paddle.save keeps (parameter name, array) pairs in place of a table of names.
    path = str(tmp_path / "checkpoint.pdparams")
    paddle.save({"state_dict": dict(model.state_dict()), "iteration": 7}, path)
    assert same(read_state(path), state_of(model))


def test_paddle_bfloat16(tmp_path):
    path = str(tmp_path / "model.pdparams")
    value = paddle.to_tensor([1.0, -2.5, 3e30]).astype("bfloat16")
    paddle.save({"w": value}, path)
    assert same(read_state(path), {"w": value.astype("float32").numpy()})


def test_sliced_parameters_are_joined(tmp_path):
    # What paddle.save makes of an array above 1 GiB in protocol 2, here with slices of four elements.
    path = tmp_path / "big.pdparams"
    big = np.arange(10, dtype="float32")
    content = {
        "big@@.0": big[:4],
        "big@@.1": big[4:8],
        "big@@.2": big[8:],
        "UnpackBigParamInfor@@": {"big": {"OriginShape": (2, 5), "slices": ["big@@.0", "big@@.1", "big@@.2"]}},
        "StructuredToParameterName@@": {"big": "linear_0.w_0"},
    }
    path.write_bytes(pickle.dumps(content, protocol=2))
    assert same(read_state(str(path)), {"big": big.reshape(2, 5)})
    assert same({k: v.numpy() for k, v in paddle.load(str(path)).items()}, read_state(str(path)))


def test_paddleseg_archive(model, tmp_path):
    (tmp_path / "mit").mkdir()
    paddle.save(model.state_dict(), str(tmp_path / "mit" / "model.pdparams"))
    with tarfile.open(tmp_path / "mit.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "mit", "mit")
    assert same(read_state(str(tmp_path / "mit.tar.gz")), state_of(model))


@pytest.mark.parametrize("extension", [".safetensors", ".pdparams"])
def test_save_and_read(tmp_path, extension):
    state = {
        "a": np.arange(6, dtype="float32").reshape(2, 3).T,  # not contiguous
        "half": np.ones(3, "float16"),
        "scalar": np.array(2, "int64"),
        "empty": np.zeros((0, 3), "float32"),
    }
    path = str(tmp_path / f"x{extension}")
    save_state(state, path)
    assert same(read_state(path), state)
    if extension == ".pdparams":
        assert np.array_equal(paddle.load(path)["a"], state["a"])


def test_safetensors_bfloat16(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    bits = np.array([0x3F80, 0xC020], "<u2")  # 1, -2.5
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes())
    assert same(read_state(str(path)), {"w": np.array([1, -2.5], "float32")})


class Malicious:
    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("layout", ["zip", "legacy", "pdparams"])
def test_malicious_file_is_not_executed(tmp_path, layout):
    trace = tmp_path / "executed"
    bad = Malicious()
    bad.path = trace
    content = pickle.dumps(collections.OrderedDict(w=bad), protocol=2)
    path = tmp_path / "bad.pth"
    if layout == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    elif layout == "legacy":
        path.write_bytes(b"".join(map(pickle.dumps, (0x1950A86A20F9469CFC6C, 1001, {}))) + content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"asks for (posix|nt)\.system, which no tensor needs, and was not executed"):
        read_state(str(path))
    assert not trace.exists()
    pickle.loads(content)  # the file is truly malicious
    assert trace.exists()


def test_attributes_of_allowed_globals(tmp_path):
    # Protocol 4 resolves dotted names: the path from an allowed class to everything else.
    path = tmp_path / "bad.pdparams"
    name = b"OrderedDict.__init__.__globals__"
    path.write_bytes(b"\x80\x04\x8c\x0bcollections\x8c" + bytes([len(name)]) + name + b"\x93.")
    with pytest.raises(InputError, match=r"asks for collections\.OrderedDict\.__init__"):
        read_state(str(path))


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize(
    "offset, size, stride",
    [(0, (4, 7), (6, 1)), (-1, (2,), (1,)), (23, (2,), (-1,)), (0, (2, 2), (1 << 62, 1)), (0, (10**6, 24), (0, 1))],
)
def test_tensors_that_reach_outside_their_storage(tmp_path, layout, offset, size, stride):
    """Offset, size and stride come from the file; a wrong one must not read other memory."""

    class Key:
        pass

    class Tensor:
        def __reduce__(self):
            return rebuild, (Key(), offset, size, stride, False, collections.OrderedDict())

    class Pickler(pickle._Pickler):
        def save_global(self, obj, name=None):  # write the names of PyTorch, which is not installed
            module, name = {rebuild: ("torch._utils", "_rebuild_tensor_v2"), dtype: ("torch", "FloatStorage")}.get(
                obj, (obj.__module__, obj.__qualname__)
            )
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

        def persistent_id(self, obj):
            extra = (None,) if layout == "legacy" else ()
            return ("storage", dtype, "0", "cpu", 24, *extra) if isinstance(obj, Key) else None

    def rebuild():
        pass

    def dtype():
        pass

    path = tmp_path / "bad.pth"
    raw = np.arange(24, dtype="<f4").tobytes()
    with open(tmp_path / "data.pkl", "wb") as f:
        Pickler.dispatch = {**pickle._Pickler.dispatch, type(rebuild): Pickler.save_global}
        Pickler(f, protocol=2).dump({"w": Tensor()})
    content = (tmp_path / "data.pkl").read_bytes()
    if layout == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/data/0", raw)
    else:
        header = b"".join(map(pickle.dumps, (0x1950A86A20F9469CFC6C, 1001, {})))
        path.write_bytes(header + content + pickle.dumps(["0"]) + (24).to_bytes(8, "little") + raw)
    with pytest.raises(InputError, match="outside its storage"):
        read_state(str(path))


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "x.pdparams", "x.safetensors", "x.tar.gz"])
def test_truncated_files(model, tmp_path, name):
    path = tmp_path / name
    if name.startswith("torch"):
        shutil.copy(os.path.join(FIXTURES, name), path)
    elif name == "x.tar.gz":
        paddle.save(model.state_dict(), str(tmp_path / "x.pdparams"))
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "x.pdparams", "x.pdparams")
    else:
        save_state(state_of(model), str(path))
    whole = path.read_bytes()
    read_state(str(path))
    for part in (0.3, 0.6, 0.97):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(InputError, match="truncated or damaged"):
            read_state(str(path))


def test_other_files(tmp_path):
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"expected a \.pdparams, \.pth, \.pt or \.safetensors file"):
        read_state(str(tmp_path / "page.pth"))
    with pytest.raises(InputError, match="No such file"):
        read_state(str(tmp_path / "none.pth"))
    (tmp_path / "list.pdparams").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="holds a list where a dict of tensors"):
        read_state(str(tmp_path / "list.pdparams"))
    (tmp_path / "x.pdopt").write_bytes(pickle.dumps({"w": np.ones(2), "step": 3}))
    with pytest.raises(InputError, match="'step' is a int where a tensor"):
        read_state(str(tmp_path / "x.pdopt"))
    with pytest.raises(InputError, match=r"ends in \.safetensors or \.pdparams"):
        save_state({}, str(tmp_path / "x.onnx"))


def test_loading_is_strict(model):
    state = state_of(model)
    changed = {k: v + 1 for k, v in state.items()}
    load_weights(model, {**changed, "head.weight": changed["head.weight"].astype("float16")})
    assert same(state_of(model), {**changed, "head.weight": changed["head.weight"].astype("float16").astype("float32")})

    del changed["stem.1._mean"]
    changed["foreign"] = np.ones(1)
    changed["head.bias"] = np.ones(7, "float32")
    with pytest.raises(InputError) as e:
        load_weights(model, changed)
    for part in ("missing stem.1._mean", "not in the model foreign", r"head.bias (expected [5], got [7])"):
        assert part in str(e.value)


def test_skip(model):
    before = state_of(model)
    other = {k: v + 1 for k, v in before.items() if k.startswith("stem")}
    load_weights(model, {**other, "head.weight": np.ones((4, 9))}, skip=["head"])
    assert same(state_of(model), {**other, "head.weight": before["head.weight"], "head.bias": before["head.bias"]})
    with pytest.raises(InputError, match="skip names 'hea'"):
        load_weights(model, before, skip=["hea"])


@pytest.fixture
def server(tmp_path):
    """The URL of a server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    ) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


def test_fetch(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PADDLE_RTSEG_CACHE", str(tmp_path / "cache"))
    url, folder = server
    shutil.copy(os.path.join(FIXTURES, "torch_zip.pth"), folder / "w.pth")
    digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()

    with pytest.raises(InputError, match="expected a URL with a checksum"):
        fetch(f"{url}/w.pth")
    with pytest.raises(InputError, match=f"has the SHA-256 {digest}, expected 0000"):
        fetch(f"{url}/w.pth#sha256={'0' * 64}")
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch(f"{url}/none.pth#sha256={digest}")
    with open(folder / "large.pth", "wb") as f:
        f.truncate(3 << 20)
    monkeypatch.setenv("PADDLE_RTSEG_DOWNLOAD_MIB", "2")
    with pytest.raises(
        InputError, match=r"expected at most 2 MiB from .*large.pth, got more; .*raise PADDLE_RTSEG_DOWN"
    ):
        fetch(f"{url}/large.pth#sha256={digest}")
    assert os.listdir(tmp_path / "cache") == []

    assert len(read_state(f"{url}/w.pth#sha256={digest}")) == 11
    (folder / "w.pth").unlink()
    path = fetch(f"{url}/w.pth#sha256={digest.upper()}")  # from the cache
    with open(path, "ab") as f:
        f.write(b"damage")
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch(f"{url}/w.pth#sha256={digest}")
