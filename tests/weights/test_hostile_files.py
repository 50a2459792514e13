"""Files of weights that strangers made to run code, to read memory, or to exhaust time and memory."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from comparing import zip_strict
from hostile import BUILD, EMPTY_DICT, EMPTY_TUPLE, REDUCE, SETITEM, TUPLE2, Command, dump, named, program, state

from paddle_rtseg.errors import InputError
from paddle_rtseg.weights import read_state
from paddle_rtseg.weights.limits import Budget
from paddle_rtseg.weights.unpickler import _GLOBALS, Source, Unpickler

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
MIB = 1 << 20
REBUILD = ("torch._utils", "_rebuild_tensor_v2")


@pytest.fixture
def small_limit(monkeypatch):
    """A limit that is reached quickly; what is above it would be refused in the same way at any size."""
    monkeypatch.setenv("PADDLE_RTSEG_UNPACKED_MIB", "8")


def refused(tmp_path, content, match, memory=64 * MIB, name="bad.pth"):
    """Reading ``content`` gives one line that matches, and takes little memory."""
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=match) as error:
            read_state(str(path))
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()
    message = str(error.value)
    assert "\n" not in message and len(message) < len(str(path)) + 400
    return message


def torch_zip(pickled, members=(), compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in members:
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def storage(length, key="0", kind="FloatStorage"):
    """Instructions that push PyTorch's storage."""
    return b"(" + dump("storage") + named("torch", kind) + dump(key) + dump("cpu") + dump(length) + b"tQ"


def tensor(size, stride, length, offset=0, key="0"):
    """Instructions that push a view of PyTorch's storage."""
    rest = dump(offset) + dump(size) + dump(stride) + dump(False) + EMPTY_DICT
    return named(*REBUILD) + b"(" + storage(length, key) + rest + b"t" + REDUCE


@pytest.mark.parametrize("module, name", list(_GLOBALS))
def test_attributes_of_what_a_name_stands_for(tmp_path, module, name):
    attributes = dump((None, {"__getitem__": 1, "array": 1, "length": 1 << 40, "call": 1}))
    refused(tmp_path, state(named(module, name), attributes, BUILD), "sets attributes of a .*was not executed")


@pytest.mark.parametrize("attribute", ["__array_interface__", "data", "length", "dtype", "shape", "value"])
@pytest.mark.parametrize("slots", [True, False])
@pytest.mark.parametrize(
    "instructions",
    [
        storage(8),
        tensor((2,), (1,), 8),
        named("numpy", "dtype") + dump(("f4", False, True)) + REDUCE,
        named("numpy.core.multiarray", "_reconstruct") + EMPTY_TUPLE + REDUCE,
        named("numpy.core.multiarray", "_reconstruct"),
        dump("text"),
        dump((1, 2)),
        dump([1]),
        dump(1),
    ],
)
def test_attributes_of_values(tmp_path, instructions, slots, attribute):
    """NumPy reads any address from an object that has an attribute ``__array_interface__``."""
    interface = {"shape": (8,), "typestr": "|u1", "data": (140000000000000, False), "version": 3}
    attributes = {attribute: interface}
    built = instructions + dump((None, attributes) if slots else attributes) + BUILD
    refused(tmp_path, torch_zip(state(built), [("data/0", bytes(32))]), "sets attributes of a|wrong state")


def test_refused_file_does_not_change_later_reads(tmp_path):
    good = os.path.join(FIXTURES, "torch_zip.pth")
    before = read_state(good)
    attributes = dump((None, {"array": 1, "call": 1, "build": 1}))
    for module, name in _GLOBALS:
        refused(tmp_path, state(named(module, name), attributes, BUILD), "was not executed")
    after = read_state(good)
    assert before.keys() == after.keys()
    for one, other in zip_strict(before.values(), after.values()):
        np.testing.assert_array_equal(one, other)


def test_stand_ins_have_no_attributes_to_set(tmp_path):
    """What a pickle can hold while it is read: each object has a fixed set of slots, or is a plain value."""
    instructions = [named(*name) for name in _GLOBALS] + [storage(8), tensor((2,), (1,), 8)]
    for item in instructions:
        content = program(item)
        value = Unpickler(Source(io.BytesIO(content), len(content)), Budget(len(content))).load()
        assert not hasattr(value, "__dict__")


@pytest.mark.parametrize(
    "made",
    [
        tensor((2, 3), (3, 1), 8).replace(storage(8), dump(5)),
        tensor((2,), (1,), 8, offset=1.5),
        tensor((True,), (1,), 8),
        tensor((2.0,), (1,), 8),
        tensor(("2",), (1,), 8),
        tensor([2], [1], 8),
        tensor((2,), (1, 1), 8),
        tensor((1,) * 33, (1,) * 33, 8),
        tensor((2,), (1,), -8),
        tensor((2,), (1,), "8"),
        tensor((2,), (1,), 8, key=5),
        named("torch._utils", "_rebuild_parameter") + dump((5, True)) + REDUCE,
    ],
)
def test_types_are_checked(tmp_path, made):
    refused(tmp_path, torch_zip(state(made), [("data/0", bytes(32))]), "truncated or damaged")


@pytest.mark.parametrize("call", [dump(5), dump("os.system"), dump([]), storage(8), named("torch", "FloatStorage")])
def test_calls_of_values(tmp_path, call):
    refused(tmp_path, state(call, EMPTY_TUPLE, REDUCE), "it calls a .*, which no tensor needs, and was not executed")


def array(shape, raw, fortran=False, dtype="f4"):
    """Instructions that push a NumPy array."""
    order = named("numpy", "dtype") + dump((dtype, False, True)) + REDUCE
    order += dump((3, "<", None, None, None, -1, -1, 0)) + BUILD
    made = named("numpy.core.multiarray", "_reconstruct") + EMPTY_TUPLE + REDUCE
    return made + b"(" + dump(1) + dump(shape) + order + dump(fortran) + raw + b"t" + BUILD


@pytest.mark.parametrize("shape", [(3,), (-1,), (1 << 40, 1 << 40), (2.0,), [2], (1,) * 40, "ab"])
def test_shapes_of_arrays(tmp_path, shape):
    refused(tmp_path, state(array(shape, dump("\0" * 8))), "truncated or damaged")
    (tmp_path / "good.pdparams").write_bytes(state(array((2,), dump("\0" * 8))))
    assert read_state(str(tmp_path / "good.pdparams"))["w"].shape == (2,)


def test_array_whose_data_are_set_twice(tmp_path):
    again = dump((1, (1,), 5, False, b"")) + BUILD
    refused(tmp_path, state(array((2,), dump("\0" * 8)), again), "an array with a wrong state")


def test_nested_shared_tuples_as_a_key(tmp_path):
    nested = dump("x") + b"".join(b"q\x00h\x00" + TUPLE2 for _ in range(60))
    refused(tmp_path, program(EMPTY_DICT, nested, dump(1), SETITEM), "has a tuple as the key of a dict")


def test_integers_that_hash_alike(tmp_path):
    key = b"\x8a\x09" + ((1 << 61) - 1).to_bytes(9, "little")
    refused(tmp_path, program(EMPTY_DICT, key, dump(1), SETITEM), "has a int as the key of a dict")


def test_containers_of_exponential_size(tmp_path):
    shared = b"]q\x09" + b"0](h\x09h\x09eq\x09" * 30
    refused(tmp_path, state(shared), "a pickle of at most 1000000 steps")


def test_deep_nesting(tmp_path):
    refused(tmp_path, state(b"]" * 200_000 + b"a" * 199_999), "at most 32 containers inside each other")
    refused(tmp_path, state(b"](" + b"h\x00" * 5), "truncated or damaged")


def test_list_inside_itself(tmp_path):
    refused(tmp_path, state(b"]q\x00h\x00a"), "at most 32 containers inside each other")


@pytest.mark.parametrize("function", [("builtins", "tuple"), ("collections", "OrderedDict")])
def test_repeated_copies_of_a_list(tmp_path, function):
    pairs = b"](" + b"](K\x01K\x02e" * 5000 + b"eq\x00" + b"0"
    copy = named(*function) + b"h\x00" + b"\x85" + REDUCE + b"0"
    refused(tmp_path, program(pairs, copy * 2000, EMPTY_DICT), "a pickle of at most 1000000 steps")


def test_repeated_copies_of_a_text(tmp_path, small_limit):
    text = dump("x" * MIB) + b"q\x09" + b"0"
    copy = named("_codecs", "encode") + b"h\x09" + dump("latin1") + TUPLE2 + REDUCE
    refused(tmp_path, state(text, b"]", (copy + b"a") * 20), "at most 4 times its size and 8 MiB")


def test_repeated_copies_of_views(tmp_path, small_limit):
    views = b"".join(dump(f"w{i}") + tensor((128, 128), (1, 128), 16384) + SETITEM for i in range(200))
    bad = torch_zip(program(EMPTY_DICT, views), [("data/0", bytes(65536))], zipfile.ZIP_DEFLATED)
    refused(tmp_path, bad, "at most 4 times its size and 8 MiB")


def test_views_that_need_no_copy_are_not_copied(tmp_path):
    views = b"".join(dump(f"w{i}") + tensor((16384,), (1,), 16384) + SETITEM for i in range(2000))
    path = tmp_path / "shared.pth"
    path.write_bytes(torch_zip(program(EMPTY_DICT, views), [("data/0", bytes(65536))]))
    assert len(read_state(str(path))) == 2000


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\x0f.",  # an index of the memo: Python's unpickler allocates up to it
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a text
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a frame
        b"\x80\x04\x8b\xff\xff\xff\x7f.",  # an integer
        b"\x80\x02cx" + b"y" * 100_000 + b"\nz\n.",
        b"\x80\x02.",
        b"\x80\x02" + b"(" * 1000,
    ],
)
def test_lengths_that_the_file_does_not_have(tmp_path, content):
    refused(tmp_path, content, "truncated or damaged|holds a NoneType", memory=4 * MIB)


@pytest.mark.parametrize("name", [b"x" * 5000, b"\x1b[31mred\x07", b"two\nlines"])
def test_messages_quote_at_most_a_line(tmp_path, name):
    stacked = b"X" + struct.pack("<I", len(name)) + name + dump("f") + b"\x93"
    message = refused(tmp_path, program(stacked), "which no tensor needs")
    assert message.isprintable()
    key = b"X" + struct.pack("<I", len(name)) + name
    assert refused(tmp_path, program(EMPTY_DICT, key, dump(1), SETITEM), "a tensor was expected").isprintable()


def test_deflate_bomb(tmp_path, small_limit):
    bad = torch_zip(state(tensor((1,), (1,), 5 * MIB)), [("data/0", bytes(20 * MIB))], zipfile.ZIP_DEFLATED)
    assert len(bad) < 2 * MIB
    refused(tmp_path, bad, "at most 4 times its size and 8 MiB")


def test_size_that_a_zip_announces_is_all_that_is_unpacked(tmp_path):
    bad = bytearray(torch_zip(state(tensor((1,), (1,), 4)), [("data/0", bytes(100 * MIB))], zipfile.ZIP_DEFLATED))
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = bad.rindex(b"archive/data/0", 0, None if start == b"PK\x01\x02" else bad.index(b"PK\x01\x02"))
        at -= 30 - 22 if start == b"PK\x03\x04" else 46 - 24
        bad[at : at + 4] = struct.pack("<I", 16)
    refused(tmp_path, bytes(bad), "truncated or damaged")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_with_another_compression(tmp_path, compression):
    bad = torch_zip(state(dump(1)), [("data/0", bytes(20 * MIB))], compression)
    refused(tmp_path, bad, "compressed in an unknown way")


def test_byte_order_of_a_zip_is_short(tmp_path, small_limit):
    bad = torch_zip(state(dump(1)), [("byteorder", bytes(20 * MIB))], zipfile.ZIP_DEFLATED)
    refused(tmp_path, bad, "at most 4 times its size and 8 MiB")


def test_large_zip_directory(tmp_path, monkeypatch):
    monkeypatch.setattr("paddle_rtseg.weights.archives.ZIP_DIRECTORY", 1000)
    bad = torch_zip(state(dump(1)), [(f"data/{i}", b"") for i in range(100)])
    refused(tmp_path, bad, "zip directory is larger than 1000 bytes")


def test_gzip_bomb(tmp_path, small_limit):
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9) as packed:
        for _ in range(20):
            packed.write(bytes(MIB))
    assert len(file.getvalue()) < MIB
    refused(tmp_path, file.getvalue(), "at most 4 times its size and 8 MiB")


def tar_gz(size, kind=tarfile.REGTYPE, content=b"", name="x.pdparams"):
    """A tar.gz with one member whose header states ``size``."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    padding = bytes(-len(content) % 512)
    return gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + content + padding + bytes(1024))


def test_tar_whose_member_is_larger_than_it(tmp_path):
    refused(tmp_path, tar_gz(1 << 32), "truncated or damaged")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_tar_members_that_are_no_files(tmp_path, kind):
    refused(tmp_path, tar_gz(0, kind), "an archive with one .pdparams file, got 0")


def test_tar_of_many_members(tmp_path):
    member = tarfile.TarInfo("x").tobuf()
    refused(tmp_path, gzip.compress(member * 10_001), "an archive of at most 10000 files")


def test_compressed_tar_inside_a_tar(tmp_path):
    inner = gzip.compress(bytes(20 * MIB))
    refused(tmp_path, gzip.compress(inner), "truncated or damaged")


def test_long_name_in_a_tar(tmp_path):
    content = pickle.dumps({"w": np.ones(3)}, protocol=4)
    (tmp_path / "x.pdparams").write_bytes(content)
    for form in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=form) as archive:
            archive.add(tmp_path / "x.pdparams", "d" * (120 if form == tarfile.GNU_FORMAT else 20) + "/x.pdparams")
        assert read_state(str(tmp_path / "x.tar.gz"))["w"].tolist() == [1, 1, 1]


def test_slices_that_are_joined_twice(tmp_path):
    info = {"a": {"OriginShape": (2,), "slices": ["s"]}, "b": {"OriginShape": (2,), "slices": ["s"]}}
    content = {"s": np.zeros(2), "UnpackBigParamInfor@@": info}
    refused(tmp_path, pickle.dumps(content, protocol=2), "truncated or damaged")


def test_header_of_safetensors(tmp_path):
    refused(tmp_path, struct.pack("<Q", 1 << 29) + b"{", "expected a .pdparams", name="x.safetensors")


def test_files_that_are_not_regular(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (str(tmp_path / "pipe.pth"), "/dev/zero"):
        with pytest.raises(InputError, match="is not a regular file"):
            read_state(path)


def test_limits_are_settable(tmp_path, monkeypatch):
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"w": np.ones(3)}, protocol=4))
    monkeypatch.setenv("PADDLE_RTSEG_PICKLE_STEPS", "10")
    with pytest.raises(InputError, match="at most 10 steps, got more; if you trust it, raise PADDLE_RTSEG_PICKLE"):
        read_state(str(path))
    monkeypatch.setenv("PADDLE_RTSEG_PICKLE_STEPS", "many")
    with pytest.raises(InputError, match="a positive number in PADDLE_RTSEG_PICKLE_STEPS, got 'many'"):
        read_state(str(path))
    monkeypatch.delenv("PADDLE_RTSEG_PICKLE_STEPS")
    path.write_bytes(gzip.compress(bytes(3 * MIB)))
    monkeypatch.setenv("PADDLE_RTSEG_UNPACKED_MIB", "1")
    with pytest.raises(InputError, match="4 times its size and 1 MiB, got more; if you trust it, raise PADDLE_RTSEG_U"):
        read_state(str(path))


def test_empty_arrays_and_numbers_of_old_protocols(tmp_path):
    """Protocol 2 spells empty bytes as a call; NumPy's numbers are a call in every protocol."""
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"w": np.zeros((0, 3), "float32")}, protocol=2))
    assert read_state(str(path))["w"].shape == (0, 3)


@pytest.mark.parametrize("form", ["gz", "zip", "pickle"])
def test_command_inside_each_form(tmp_path, form):
    pickled = pickle.dumps({"w": Command(tmp_path / "trace")}, protocol=2)
    content = {"gz": lambda: tar_gz(len(pickled), content=pickled), "zip": lambda: torch_zip(pickled)}
    refused(tmp_path, content.get(form, lambda: pickled)(), r"asks for (posix|nt)\.system")
    assert not (tmp_path / "trace").exists()
