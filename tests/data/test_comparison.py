"""Masks next to labels: which files belong together, what is skipped, and the picture against its colours."""

import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_configs import run_command

from paddle_rtseg.data import comparison
from paddle_rtseg.data.palettes import CAMVID
from paddle_rtseg.errors import InputError

NAMES = "abcd"
TITLE = CAPTION = 24  # pixels
LEGEND = 28  # of two classes


@pytest.fixture
def folders(tmp_path):
    """Four frames, of which every second pixel column is segmented right."""
    label = np.tile(np.arange(30, dtype=np.uint8) % 2, (20, 1))
    for folder in ("images", "labels", "masks"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((20, 30, 3), 200, np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / f"{name}.png"), label)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), np.zeros_like(label))
    return tmp_path


def compare(root, *arguments):
    paths = [part for name in ("images", "labels", "masks") for part in (f"--{name}", root / name)]
    return run_command("compare", *paths, *arguments)


def test_scores(folders, capsys):
    assert compare(folders) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["Sky", "50.00", "%"] and printed[2].split() == ["Pole", "absent"]
    assert printed[-1] == (
        "mean IoU of all 11 classes: 4.55%, where the 9 in neither labels nor predictions count as 0; mean IoU of the "
        "others: 25.00%  (4 frames)"
    )


def test_masks_with_a_palette(folders, capsys):
    """As predict writes them."""
    compare(folders)
    expected = capsys.readouterr().out
    for path in (folders / "masks").iterdir():
        image = Image.open(path).convert("P")
        image.putpalette([200, 100, 0] * 256)
        image.save(path)
    assert compare(folders) == 0 and capsys.readouterr().out == expected


def test_folders_in_folders(folders, capsys):
    for folder in ("images", "labels", "masks"):
        (folders / folder / "deep").mkdir()
        for path in sorted((folders / folder).glob("a.*")):
            path.rename(path.parent / "deep" / path.name)
    (folders / "images" / "notes.gif").touch()
    shutil.copy(folders / "masks" / "b.png", folders / "masks" / "z.png")
    assert compare(folders) == 0
    printed = capsys.readouterr().out
    assert (
        "(4 frames)" in printed and "not taken: 1 .gif" in printed and "no image belongs to 1 of the files" in printed
    )


def test_masks_of_images_with_the_same_stem(folders, capsys):
    """infer keeps the extensions where names would clash."""
    for folder in ("images", "labels", "masks"):
        for path in sorted((folders / folder).glob("a.*")):
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            ends = (".jpg", ".png") if folder == "images" else (".jpg.png", ".png.png")
            path.unlink()
            for end in ends:
                cv2.imwrite(str(path.parent / f"a{end}"), image)
    assert compare(folders) == 0 and "(5 frames)" in capsys.readouterr().out


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def rewrite(change):
    return lambda path: cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


@pytest.mark.parametrize(
    "file, change, words",
    [
        ("masks/b.png", lambda path: path.unlink(), "skipped b: expected one b.png in .*masks', got no such file"),
        ("labels/b.png", lambda path: shutil.copy(path, path.with_suffix(".bmp")), "got 2 files of that name"),
        ("masks/b.png", cut, "skipped b: expected an image, got .*b.png', which is cut short"),
        ("masks/b.png", rewrite(lambda ids: ids[:5]), "skipped b: expected a mask of the label's size"),
        ("masks/b.png", rewrite(lambda ids: ids + 11), "skipped b: expected mask values of 0 to 10, got 11"),
        ("labels/b.png", rewrite(lambda ids: np.dstack([ids] * 3)), "skipped b: expected one class id"),
        ("images/b.jpg", cut, "skipped b: expected an image, got .*b.jpg"),
        ("images/b.jpg", rewrite(lambda image: image[:7]), "skipped b: expected a label of the image's size"),
    ],
)
def test_one_bad_file_costs_its_frame_only(folders, file, change, words, capsys):
    change(folders / file)
    assert compare(folders, "--save", folders / "sheet.png") == 1
    printed = capsys.readouterr()
    assert "(3 frames)" in printed.out and printed.err.count("skipped") == 1
    assert re.search(words, printed.err)
    assert cv2.imread(str(folders / "sheet.png")).shape == (TITLE + 3 * (CAPTION + 213) + LEGEND, 960, 3)


def test_nothing_to_compare(folders):
    for path in (folders / "masks").iterdir():
        cut(path)
    with pytest.raises(InputError, match=r"fit, got none; the first is a: expected an image"):
        compare(folders)
    shutil.rmtree(folders / "masks")
    with pytest.raises(InputError, match=r"expected a folder of images, got .*masks"):
        compare(folders)


def test_picture(folders, monkeypatch, capsys):
    with pytest.raises(InputError, match=r"expected a picture of \.png, .* got .*sheet.txt"):
        compare(folders, "--save", folders / "sheet.txt")
    monkeypatch.setattr(comparison, "MAX_HEIGHT", 600)
    assert compare(folders, "--save", folders / "sheet.png") == 0
    assert "sheet.png shows the first 2 frames" in capsys.readouterr().out
    sheet = cv2.imread(str(folders / "sheet.png"))
    sky, building = (list(colour)[::-1] for colour in list(CAMVID.values())[:2])
    assert sheet.shape == (TITLE + 2 * (CAPTION + 213) + LEGEND, 960, 3)
    first = sheet[TITLE + CAPTION :]
    assert first[10, [5, 325, 335, 650]].tolist() == [[200] * 3, sky, building, sky]
    legend = sheet[-LEGEND:]
    assert [(legend == colour).all(axis=2).any() for colour in (sky, building, list(CAMVID["Pole"])[::-1])] == [1, 1, 0]
    lines = [sheet[:TITLE], sheet[TITLE : TITLE + CAPTION]]
    inked = [[(line[:, x : x + 320] < 100).any() for x in (0, 320, 640)] for line in lines]
    assert inked == [[True] * 3, [True, False, False]]


def test_captions_of_a_picture():
    confusion = np.zeros((3, 3), np.int64)
    assert comparison._caption("a", confusion) == "a  nothing labelled"
    confusion[0, 0], confusion[0, 1] = 6, 2
    assert comparison._caption("größe/a", confusion) == "grose/a  mIoU 37.5 %"
    assert comparison._caption("道/b", confusion) == "?/b  mIoU 37.5 %"
    long = comparison._caption("x" * 90 + "y" * 300, confusion)
    assert long.startswith("xxx") and long.endswith("...  mIoU 37.5 %")


def test_ignored_label_of_a_dataset_file(folders, capsys):
    for name in ("train", "val"):
        (folders / f"{name}.txt").write_text("a.jpg a.png\n")
    (folders / "data.yml").write_text("train: train.txt\nval: val.txt\nnames: [left, right]\nignore: 7\n")
    rewrite(lambda ids: np.where(ids == 1, 7, ids))(folders / "labels" / "a.png")
    assert compare(folders, "--dataset", folders / "data.yml") == 0
    assert "left" in capsys.readouterr().out
