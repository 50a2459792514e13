"""The golden output is read within bounds; contract_fuzz.py compares with the reader in C++."""

import numpy as np
import pytest
from rtseg_inference import InputError
from rtseg_inference.npy import read_npy


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (19, 4, 5), (2, 0, 5), (1, 2, 3, 4)])
def test_reads_what_numpy_writes(shape, tmp_path):
    array = np.asarray(np.random.RandomState(0).standard_normal(shape)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    found = read_npy(str(tmp_path / "a.npy"))
    assert found.dtype == np.float32 and found.shape == shape and np.array_equal(found, array)


def _header(text, count=60):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(4 * count)


START, END = "{'descr': '<f4', 'fortran_order': False, 'shape': (", "), }\n"
BAD = {
    "nothing": (b"", "no NumPy header"),
    "text": (b"3 4 5\n" * 20, "no NumPy header"),
    "zip": (b"PK\x03\x04" + bytes(100), "no NumPy header"),
    "version 2": (_header(START + "3, 4, 5" + END).replace(b"\x01\x00", b"\x02\x00", 1), "no NumPy header"),
    "header cut short": (_header(START + "3, 4, 5" + END)[:40], "another header"),
    "long header": (_header(START + "3, 4, 5" + END + 30_000 * " "), "another header"),
    "long shape": (_header(START + 10_000 * "1, " + END), "another header"),
    "many digits": (_header(START + "3, 4, " + 100 * "9" + END), "another header"),
    "five axes": (_header(START + "1, 1, 3, 4, 5" + END), "another header"),
    "objects": (_header(START.replace("<f4", "|O") + "3, 4, 5" + END), "another header"),
    "float64": (_header(START.replace("<f4", "<f8") + "3, 4, 5" + END, 120), "another header"),
    "Fortran's order": (_header(START.replace("False", "True") + "3, 4, 5" + END), "another header"),
    "expression": (_header(START + "3, 4, 5*1" + END), "another header"),
    "too few values": (_header(START + "3, 4, 5" + END, 59), "cut short"),
    "too many values": (_header(START + "3, 4, 5" + END, 61), "cut short"),
    "product that overflows": (_header(START + "536870912, 536870912, 64, 1" + END, 0), "cut short"),
    "terabytes": (_header(START + "999999999, 999" + END), "cut short"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays(name, tmp_path):
    content, reason = BAD[name]
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_npy(str(tmp_path / "a.npy"))
    assert str(caught.value) == (
        f"{tmp_path}/a.npy is not a .npy file of float32 in C order ({reason}); export the model again"
    )


def test_missing_array(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*copy the whole folder"):
        read_npy(str(tmp_path / "a.npy"))
