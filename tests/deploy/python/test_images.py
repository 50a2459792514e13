"""Which files are images, and how they are found, read and named."""

import os
import struct

import cv2
import numpy as np
import pytest
from image_cases import HOSTILE, NAMES
from image_files import HEIGHT, WIDTH, image_files, opencv, picture
from measuring import peak_bytes
from rtseg_inference import InputError, images, tiff
from rtseg_inference.images import TooLarge, decode_image, find_images, read_image, unique_names

FILES = image_files(picture())
DIVIDED = {"plain.tif": 42, "16 bits.tif": 21, "strips.tif": 7, "tiled.tif": 32}  #: rows of a strip or tile
JPEGS = sorted(name for name, data in FILES.items() if data.startswith(b"\xff\xd8"))


def written(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_pixels_are_those_of_opencv(name, tmp_path, capfd):
    """Also with bytes after the image's end, and silently."""
    plain, longer = written(tmp_path, name, FILES[name]), written(tmp_path, "longer " + name, FILES[name] + bytes(2000))
    expected = cv2.imread(plain, cv2.IMREAD_COLOR)
    assert expected.dtype == np.uint8 and expected.shape[2] == 3
    capfd.readouterr()
    assert np.array_equal(read_image(plain), expected)
    assert np.array_equal(read_image(longer), expected)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", sorted(FILES))
def test_from_memory_as_from_a_file(name, tmp_path):
    assert np.array_equal(decode_image(FILES[name]), read_image(written(tmp_path, name, FILES[name])))


def test_errors_from_memory(monkeypatch):
    for data, words in {
        b"": "is empty",
        b"no image": "has the header of no format",
        FILES["plain.png"][:99]: "cut",
    }.items():
        with pytest.raises(
            InputError, match=f"expected an image, got the upload, which .*{words}.*; replace or remove it"
        ):
            decode_image(data, "the upload")
    monkeypatch.setattr(images, "pixel_limit", lambda: 10)
    with pytest.raises(TooLarge, match="; shrink the upload, or raise RTSEG_MEGAPIXELS"):
        decode_image(FILES["plain.png"], "the upload")


@pytest.mark.parametrize(
    ("name", "levels"), [("16 bits.png", 0), ("16 bits.tif", 1), ("plain.png", 0), ("alpha.png", 0)]
)
def test_colours(name, levels, tmp_path):
    """The upper 8 of 16 bits, and colours as stored under a transparent layer; libtiff rounds 16 bits."""
    difference = read_image(written(tmp_path, name, FILES[name])).astype(int) - picture()
    assert np.abs(difference).max() <= levels


def test_exif_orientation_is_applied(tmp_path):
    expected = np.rot90(picture(), -1)
    assert np.array_equal(read_image(written(tmp_path, "turned.png", FILES["turned.png"])), expected)
    assert read_image(written(tmp_path, "turned.jpeg", FILES["turned.jpeg"])).shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"pages.tiff", "text.ppm", "16 bits.ppm"}))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_cut_file_is_refused(name, share, tmp_path):
    data = FILES[name]
    with pytest.raises(InputError, match=r"expected an image, got '.*', which .*; replace or remove it"):
        read_image(written(tmp_path, name, data[: int(len(data) * share)]))


@pytest.mark.parametrize("name", sorted(set(JPEGS) - {"progressive.jpg"}))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.9])
def test_cut_jpeg_with_an_end_marker_is_refused(name, share, tmp_path):
    """libjpeg fills in the pixels that are missing."""
    path = written(tmp_path, name, FILES[name][: int(len(FILES[name]) * share)].rstrip(b"\xff") + b"\xff\xd9")
    if share >= 0.8:  # the headers of these small files are about half of them
        assert cv2.imread(path) is not None
    with pytest.raises(InputError, match="is cut short"):
        read_image(path)


def test_progressive_jpeg_needs_all_bits_of_all_coefficients(tmp_path):
    data = FILES["progressive.jpg"]
    last_scan = data.rindex(b"\xff\xda")
    for end in (len(data) // 2, last_scan):
        path = written(tmp_path, "cut.jpg", data[:end] + b"\xff\xd9")
        assert cv2.imread(path) is not None
        with pytest.raises(InputError, match="is cut short"):
            read_image(path)


@pytest.mark.parametrize("height", [16, 17, 50])
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_flat_jpeg_is_whole(height, colour, tmp_path):
    """One colour in the last corner is where the check for missing pixels looks closer."""
    for parameters in ((), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)):
        image = np.full((height, 50, 3), colour, np.uint8)
        assert np.array_equal(read_image(written(tmp_path, "a.jpg", opencv(".jpg", image, *parameters))), image)


@pytest.mark.parametrize(("name", "data", "message"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_hostile_file_is_refused_before_it_is_decoded(name, data, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        read_image(written(tmp_path, name, data))
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_limit_is_a_setting(tmp_path, monkeypatch):
    path = written(tmp_path, "a.png", opencv(".png", np.zeros((1001, 1000), np.uint8)))
    monkeypatch.setenv("RTSEG_MEGAPIXELS", "1")
    with pytest.raises(InputError, match=r"at most 1 mega.*, got 1000 x 1001; shrink '.*a.png', or raise RTSEG_MEG"):
        read_image(path)
    for wrong in ("0", "-1", "1e3", "²", "9" * 500):
        monkeypatch.setenv("RTSEG_MEGAPIXELS", wrong)
        with pytest.raises(InputError, match="expected RTSEG_MEGAPIXELS from 1 to 1000, got"):
            read_image(path)


def test_side_is_limited(tmp_path):
    """OpenCV writes no longer results: JPEG has this limit, PNG another."""
    with pytest.raises(InputError, match="at most 100 megapixels and 65500 pixels a side, got 65501 x 2; shrink"):
        read_image(written(tmp_path, "a.png", opencv(".png", np.zeros((2, 65501), np.uint8))))
    assert read_image(written(tmp_path, "b.png", opencv(".png", np.zeros((2, 65500), np.uint8)))).shape == (2, 65500, 3)


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "device.png", "folder.png"):
        with pytest.raises(InputError, match="is not a regular file"):
            read_image(str(tmp_path / name))
    (tmp_path / "broken.png").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"cannot read the image .* \(No such file or directory\); check the path"):
        read_image(str(tmp_path / "broken.png"))
    large = written(tmp_path, "large.png", FILES["plain.png"])
    os.truncate(large, images.FILE_BYTES + 1)
    with pytest.raises(InputError, match="has more than 1024 MiB"):
        read_image(large)
    monkeypatch.setenv("RTSEG_MEGAPIXELS", "300")  # for which a file may have more
    assert np.array_equal(read_image(written(tmp_path, "large.png", FILES["plain.png"])), cv2.imread(large))


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith((".tif", ".tiff"))))
def test_large_tiff_is_decoded_in_bands(name, tmp_path, monkeypatch):
    path = written(tmp_path, name, FILES[name])
    monkeypatch.setattr(images, "LARGE", 0)
    monkeypatch.setattr(tiff, "BAND", 1)
    assert np.array_equal(read_image(path), cv2.imread(path))
    directory = tiff.Directory(FILES[name])
    assert directory.divisible() == (name in DIVIDED)
    if name in DIVIDED:
        assert [rows.start for rows, _ in directory.bands()] == list(range(0, HEIGHT, DIVIDED[name]))


def test_memory_of_a_large_tiff_is_that_of_its_pixels(tmp_path, monkeypatch):
    path = written(tmp_path, "large.tif", opencv(".tif", picture(1000, 1500), cv2.IMWRITE_TIFF_COMPRESSION, 1))
    expected = cv2.imread(path)
    monkeypatch.setattr(images, "LARGE", 0)
    monkeypatch.setattr(tiff, "BAND", 1 << 16)
    image, peak = peak_bytes(lambda: read_image(path))
    assert np.array_equal(image, expected) and peak < 1.7 * expected.nbytes


def test_large_tiff_with_values_beyond_its_end_is_cut_short(monkeypatch):
    planar = struct.pack("<HHII", 284, 3, 1, 1)
    assert FILES["strips.tif"].count(planar) == 1
    data = FILES["strips.tif"].replace(planar, struct.pack("<HHII", 284, 3, 10, 1 << 30))
    monkeypatch.setattr(images, "LARGE", 0)
    with pytest.raises(InputError, match="which is cut short"):
        decode_image(data)


def test_tiff_that_shrinks_is_cut_short(tmp_path, monkeypatch):
    path = written(tmp_path, "strips.tif", FILES["strips.tif"])
    bands = tiff.Directory.bands
    monkeypatch.setattr(images, "LARGE", 0)
    monkeypatch.setattr(tiff.Directory, "bands", lambda self: os.truncate(path, 500) or bands(self))
    with pytest.raises(InputError, match="which is cut short"):
        read_image(path)


def test_search_of_a_folder(tmp_path):
    for name in ("b.PNG", "a.jpg", "below/c.tif", ".hidden.png", ".git/d.png", ".partial-1-e.png", "out/masks/b.png"):
        written(tmp_path, name, FILES["plain.png"])
    for name in ("one.gif", "two.GIF", "README", "list.txt"):
        written(tmp_path, name, b"")
    (tmp_path / "again").symlink_to(tmp_path / "below")
    found = find_images(str(tmp_path), leave_out=[str(tmp_path / "below" / ".." / "out"), str(tmp_path / "nowhere")])
    assert [os.path.relpath(p, tmp_path) for p in found.paths] == ["a.jpg", "b.PNG", "below/c.tif"]
    assert found.names == ["a", "b", "below/c"]
    assert found.not_taken == "not taken: 1 without an extension, 2 .gif, 1 .txt"
    written(tmp_path, "street.MP4", b"")
    again = find_images(str(tmp_path)).not_taken
    assert again.endswith("2 .gif, 1 .mp4, 1 .txt; to segment a video, name it as the --input of infer")


def test_search_without_images(tmp_path):
    written(tmp_path, "one.gif", b"")
    with pytest.raises(InputError, match=r"expected images \(.png, .*\) in '.*', got none \(not taken: 1 .gif\)"):
        find_images(str(tmp_path))
    with pytest.raises(InputError, match=r"expected an image \(.png, .*\) or a folder, got '.*one.gif'"):
        find_images(str(tmp_path / "one.gif"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_folder_that_cannot_be_searched_is_a_failure(tmp_path):
    written(tmp_path, "a.png", FILES["plain.png"])
    (tmp_path / "locked").mkdir(0)
    found = find_images(str(tmp_path))
    with pytest.raises(InputError, match="is a folder that cannot be searched"):
        read_image(found.paths[1])


def test_list_of_images(tmp_path):
    path = written(tmp_path, "list.txt", b"a.png label.png\n\n  below/b.jpg\r\n\n")
    assert find_images(path, lists=True).paths == [str(tmp_path / "a.png"), str(tmp_path / "below/b.jpg")]
    with pytest.raises(InputError, match="got none"):
        find_images(written(tmp_path, "empty.txt", b"\n\n"), lists=True)
    with pytest.raises(InputError, match="expected a text file that lists images"):
        find_images(written(tmp_path, "binary.txt", b"\xff\xfe\x80"), lists=True)


@pytest.mark.parametrize(("paths", "names"), NAMES)
def test_names_of_results_are_unique(paths, names):
    assert unique_names(paths) == names
