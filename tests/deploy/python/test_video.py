"""Flicker of a video, and the mean over time that steadies it."""

import cv2
import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference import InputError, Predictor, cli, postprocess
from rtseg_inference.geometry import Geometry, geometry
from rtseg_inference.tiling import Tiles
from rtseg_inference.video import CELL, Clip, Flicker, RunningMean, Stillness
from tiny_network import FRAMES


def noise(height, width, seed=0, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (height, width, 3)).astype(np.uint8)


def whole(size):
    """The sizes of a frame that the network takes as it is."""
    return Geometry(size, size, size)


@pytest.mark.parametrize("height, width", [(64, 48), (50, 33), (3, 3)])
def test_what_stands_still(height, width):
    image, still = noise(height, width), Stillness(motion=8)
    cells = -(-height // CELL), -(-width // CELL)
    assert still(image) is None
    np.testing.assert_array_equal(still(image), np.ones(cells, np.uint8))
    moved = image.copy()
    moved[:CELL, :CELL] ^= 128  # every pixel of the first cell, in half of whose colours it is far away
    expected = np.ones(cells, np.uint8)
    expected[0, 0] = 0
    np.testing.assert_array_equal(still(moved), expected if min(cells) > 1 else [[0]])
    assert still(noise(height + 1, width)) is None
    assert still(image) is None  # the frame before it had another size


@pytest.mark.parametrize("change, expected", [(8, 1), (9, 0), (-8, 1), (-9, 0)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_motion_is_a_number_of_grey_levels(change, expected, channel):
    still, image = Stillness(motion=8), np.full((8, 8, 3), 100, np.uint8)
    still(image)
    image = image.copy()
    image[..., channel] += np.uint8(change % 256)
    assert (still(image) == expected).all()


def test_noise_of_a_camera_is_no_motion():
    still = Stillness()
    found = [still(noise(64, 64, seed, 96, 112)) for seed in range(4)]
    assert all(cells.all() for cells in found[1:])


def test_flicker_equals_its_definition():
    rng = np.random.default_rng(0)
    size, flicker = (20, 27), Flicker()
    masks = [rng.integers(0, 3, size).astype(np.uint8) for _ in range(4)]
    cells = [None, *(rng.integers(0, 2, (5, 7)).astype(np.uint8) for _ in range(3))]
    assert str(flicker) == ""
    for mask, still in zip_strict(masks, cells):
        flicker.add(mask, still)
    still = changed = 0
    for k in (1, 2, 3):
        for y in range(20):
            for x in range(27):
                if cells[k][y * 5 // 20, x * 7 // 27]:
                    still += 1
                    changed += masks[k][y, x] != masks[k - 1][y, x]
    assert (flicker.compared, flicker.still, flicker.changed) == (3 * 20 * 27, still, changed) and changed > 0
    assert str(flicker) == (
        f"flicker: {changed / still:.2%} of the pixels that stand still change their class "
        f"({still / 1620:.1%} stand still)"
    )


def test_nothing_stands_still():
    flicker = Flicker()
    flicker.add(np.zeros((8, 8), np.uint8), None)
    flicker.add(np.ones((8, 8), np.uint8), np.zeros((2, 2), np.uint8))
    assert str(flicker) == "flicker: 0.00% of the pixels that stand still change their class (0.0% stand still)"


def test_mean_equals_its_definition():
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((9, 3, 4, 5)).astype(np.float32)
    cells = [None, *(rng.random((8, 4, 5)) < 0.8).astype(np.uint8)]
    mean = RunningMean(3)
    found = [mean(output, still, whole((16, 20))) for output, still in zip_strict(outputs, cells)]
    for y in range(4):
        for x in range(5):
            value, count = outputs[0, :, y, x].astype(np.float64), 1
            for k in range(1, 9):
                count = min(count + 1, 3) if cells[k][y, x] else 1
                value = value + (outputs[k, :, y, x] - value) / count
                np.testing.assert_allclose(found[k][:, y, x], value, atol=1e-6)
                if count == 1:
                    np.testing.assert_array_equal(found[k][:, y, x], outputs[k, :, y, x])


def test_mean_begins_again_with_another_size():
    mean = RunningMean(4)
    for size in ((16, 16), (8, 8)):
        output = np.random.default_rng(0).standard_normal((2, size[0] // 4, size[1] // 4)).astype(np.float32)
        np.testing.assert_array_equal(mean(output, None, whole(size)), output)
        still = np.ones((size[0] // 4, size[1] // 4), np.uint8)
        np.testing.assert_allclose(mean(3 * output, still, whole(size)), 2 * output, atol=1e-6)


def test_outputs_of_resized_and_padded_frames():
    """A frame of 40 x 20 pixels, enlarged to 80 x 40 and padded to 80 x 64, at an eighth: the left half moves."""
    sizes = Geometry((40, 20), (80, 40), (80, 64))
    still = np.ones((10, 5), np.uint8)
    still[:, :2] = 0  # 8 of 20 pixels, 16 of 40
    mean = RunningMean(2)
    mean(np.zeros((1, 10, 8), np.float32), None, sizes)
    found = mean(np.ones((1, 10, 8), np.float32), still, sizes)
    assert (found[0, :, :2] == 1).all() and (found[0, :, 2:] == 0.5).all()


@pytest.fixture
def street():
    return cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))[:64, :96]


def trembling(image, frames, seed=0):
    """The same picture with a camera's noise."""
    rng = np.random.default_rng(seed)
    return [np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8) for _ in range(frames)]


@pytest.mark.parametrize("output_op", ["logits", "softmax"])
def test_masks_are_of_the_mean(output_op, exported, street):
    predictor, frames = Predictor(exported[output_op], backend="native"), trembling(street, 4)
    sizes = geometry(predictor.contract, (64, 96))
    outputs = np.stack([result.output for result in predictor.predict(frames)])
    clip, plain = Clip(predictor, steady=8), Clip(predictor)
    found = [clip.predict([frame])[0] for frame in frames]
    for k, result in enumerate(found):
        expected = outputs[: k + 1].mean(axis=0)
        np.testing.assert_allclose(result.output, expected, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_array_equal(result.mask, postprocess.argmax(result.output, sizes))
        np.testing.assert_array_equal(result.image, frames[k])
    plain.predict(frames)
    assert 0 < clip.flicker.changed < plain.flicker.changed
    assert clip.flicker.still == plain.flicker.still == clip.flicker.compared == 3 * 64 * 96


def test_batches_of_frames_give_the_same_masks(exported, street):
    predictor, frames = Predictor(exported["logits"], backend="native"), trembling(street, 5)
    alone, together = Clip(predictor, steady=3), Clip(predictor, steady=3)
    expected = [alone.predict([frame])[0].mask for frame in frames]
    found = [result.mask for batch in (frames[:2], frames[2:4], frames[4:]) for result in together.predict(batch)]
    for mask, other in zip_strict(found, expected):
        np.testing.assert_array_equal(mask, other)
    assert str(alone.flicker) == str(together.flicker)


def make_video(path, frames):
    """A video without loss."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 15, frames[0].shape[1::-1])
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write FFV1")
    for frame in frames:
        writer.write(frame)
    writer.release()
    return str(path)


def infer(model, source, out, *arguments):
    return cli.run(["--model", model, "--input", source, "--save_dir", str(out), "--backend", "native", *arguments])


def masks_of(folder):
    return [cv2.imread(str(path), -1) for path in sorted((folder / "masks").rglob("*.png"))]


def test_command(exported, street, tmp_path, capsys):
    video = make_video(tmp_path / "street.avi", trembling(street, 6))
    lines = {}
    for steady in ("1", "4"):
        assert infer(exported["logits"], video, tmp_path / steady, "--steady", steady, "--write", "masks") == 0
        lines[steady] = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("flicker: "))
        assert lines[steady].endswith("(100.0% stand still)")
    assert float(lines["4"].split()[1][:-1]) < float(lines["1"].split()[1][:-1])
    predictor, frames = Predictor(exported["logits"], backend="native"), trembling(street, 6)
    clip = Clip(predictor, steady=4)
    for mask, frame in zip_strict(masks_of(tmp_path / "4"), frames):
        np.testing.assert_array_equal(mask, clip.predict([frame])[0].mask)
    for mask, frame in zip_strict(masks_of(tmp_path / "1"), frames):
        np.testing.assert_array_equal(mask, predictor.predict(frame).mask)


def test_a_picture_that_moves_everywhere_is_segmented_as_it_is(exported, tmp_path, capsys):
    video = make_video(tmp_path / "drive.avi", [noise(48, 64, seed) for seed in range(4)])
    for steady in ("1", "9"):
        arguments = ["--steady", steady, "--motion", "0", "--write", "masks"]
        assert infer(exported["logits"], video, tmp_path / steady, *arguments) == 0
        assert "(0.0% stand still)" in capsys.readouterr().out
    for plain, steadied in zip_strict(masks_of(tmp_path / "1"), masks_of(tmp_path / "9")):
        np.testing.assert_array_equal(plain, steadied)


def test_images_have_no_flicker(exported, street, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), street)
    assert infer(exported["logits"], str(tmp_path / "a.png"), tmp_path / "out") == 0
    assert "flicker: " not in capsys.readouterr().out


def test_flicker_of_a_video_in_tiles(exported, street, tmp_path, capsys):
    video = make_video(tmp_path / "street.avi", trembling(street, 3))
    assert infer(exported["argmax"], video, tmp_path / "out", "--tile", "32x64") == 0
    assert "flicker: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "op, source, flags, message",
    [
        ("logits", "a.png", ["--steady", "3"], "expected a video or camera with --steady, got images; leave it out"),
        ("logits", "a.png", ["--motion", "3"], "expected a video or camera with --motion, got images; leave it out"),
        ("argmax", "a.avi", ["--steady", "3"], "got one that gives class ids; export it with --output_op logits"),
        ("logits", "a.avi", ["--steady", "3", "--tile", "32x32"], "expected --steady with whole frames, got tiles"),
        ("logits", "a.avi", ["--steady", "0"], "expected a whole number from 1 to 1000, got '0'"),
        ("logits", "a.avi", ["--motion", "256"], "expected a whole number from 0 to 255, got '256'"),
    ],
)
def test_refused(op, source, flags, message, exported, street, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), street)
    make_video(tmp_path / "a.avi", [street])
    try:
        status = infer(exported[op], str(tmp_path / source), tmp_path / "out", *flags)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_clip_refuses_what_it_cannot_average(exported):
    with pytest.raises(InputError, match="got one that gives class ids"):
        Clip(Predictor(exported["argmax"], backend="native"), steady=2)
    with pytest.raises(InputError, match="got tiles"):
        Clip(Tiles(Predictor(exported["logits"], backend="native"), (32, 32)), steady=2)
