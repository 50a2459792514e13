"""The page in headless Chromium: what it shows is compared with the predictor's own results."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import sync_playwright
from serving import Local, running
from tiny_network import PREPROCESSING, Tiny

from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.serve.api import token_hash

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
TOKEN = "a-token-of-the-service"


@pytest.fixture(scope="module")
def engine(exported, tmp_path_factory):
    import paddle

    paddle.seed(4)
    other = Tiny()
    other.eval()
    folder = export_model(other, str(tmp_path_factory.mktemp("other") / "model"), PREPROCESSING, output_op="logits")
    return Local(first=exported["logits"], second=folder)


@pytest.fixture(scope="module")
def address(engine):
    with running(engine) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, *FAKE_CAMERA]) as started:
            yield started


@pytest.fixture
def open_page(browser):
    """``open_page(address, **context)``; in the end nothing may have been said on the console."""
    said, own, asked, contexts = [], [], [], []

    def open_one(url, **options):
        own.append(re.match(r"http://[^/]*", url)[0])
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.replace("blob:", "")))
        page.goto(url)
        return page

    open_one.said = said
    yield open_one
    for context in contexts:
        context.close()
    assert said == [] and all(url.startswith(tuple(own)) for url in asked)


@pytest.fixture(scope="module")
def photo(tmp_path_factory, frame):
    path = str(tmp_path_factory.mktemp("photo") / "street.png")
    cv2.imwrite(path, frame[:120, :160])
    return path


def choose(page, photo):
    page.set_input_files("#file", photo)
    wait_for_status(page, "street, 160 x 120 pixels")


def wait_for_status(page, text):
    page.locator("#status", has_text=text).wait_for()


def shown(page, view="#view-a"):
    """(H, W, 3) uint8 RGB of a canvas."""
    values = page.evaluate(
        """selector => {
            const canvas = document.querySelector(selector + " canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, Array.from(data)];
        }""",
        view,
    )
    return np.array(values[2], np.uint8).reshape(values[0], values[1], 4)[:, :, :3]


def set_opacity(page, percent):
    page.evaluate(
        """percent => {
            const slider = document.getElementById("opacity");
            slider.value = percent;
            slider.dispatchEvent(new Event("input"));
        }""",
        percent,
    )


def test_overlay_slider_and_legend(open_page, address, engine, photo):
    page = open_page(address)
    choose(page, photo)
    image = cv2.imread(photo)
    result = engine.predictors["first"].predict(image)
    colors = np.array(result.contract.palette, np.uint8)[result.mask].astype(float)
    for percent in (0, 30, 100):
        set_opacity(page, percent)
        expected = image[:, :, ::-1] * (1 - percent / 100) + colors * percent / 100
        assert np.abs(shown(page) - expected).max() <= 1
        assert page.inner_text("#opacity-value") == f"{percent} %"
    areas = {row["name"]: row["share"] for row in result.areas()["classes"]}
    for name in result.contract.classes:
        text = page.inner_text(f'#classes label[data-name="{name}"] .area')
        assert abs(float(text.strip().rstrip("%")) - 100 * areas.get(name, 0)) <= 0.051
    largest = max(areas, key=areas.get)
    page.uncheck(f'#classes label[data-name="{largest}"] input')
    off = result.mask == result.contract.classes.index(largest)
    assert np.array_equal(shown(page)[off], image[:, :, ::-1][off])
    assert np.abs(shown(page)[~off] - colors[~off]).max() == 0
    assert re.fullmatch(r"pre [\d.]+ · network [\d.]+ · post [\d.]+ ms", page.inner_text("#view-a .times"))


def test_two_models_and_their_difference(open_page, address, engine, photo):
    page = open_page(address)
    page.select_option("#model-b", "second")
    choose(page, photo)
    masks = [engine.predictors[name].predict(photo).mask for name in ("first", "second")]
    differing = masks[0] != masks[1]
    assert 0 < differing.sum() < differing.size
    assert page.inner_text("#difference .times").startswith(f"{differing.sum()} of {differing.size} (")
    assert np.array_equal((shown(page, "#difference") == (255, 64, 200)).all(axis=2), differing)
    page.select_option("#model-b", "")
    page.wait_for_selector("#difference", state="hidden")


def test_downloads(open_page, address, engine, photo, tmp_path):
    page = open_page(address)
    choose(page, photo)
    result = engine.predictors["first"].predict(photo)
    for form, name in (("image/png", "street-first.png"), ("application/json", "street-first.json")):
        with page.expect_download() as download:
            page.click(f'#view-a [data-form="{form}"]')
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    assert np.array_equal(cv2.imread(str(tmp_path / "street-first.png"), cv2.IMREAD_UNCHANGED), result.mask)
    details = json.loads((tmp_path / "street-first.json").read_text())
    assert details["model"] == "first" and details["classes"] == result.areas()["classes"]
    assert len(details["polygons"]) == len(result.polygons())


def test_dropped_file_and_broken_ones(open_page, address, photo, tmp_path):
    page = open_page(address)
    page.wait_for_selector("#model-a option", state="attached")
    page.evaluate(
        """() => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(10)], "broken.png", { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
        }"""
    )
    page.wait_for_selector("#status.error")
    assert "which has the header of no format that is read here" in page.inner_text("#status")
    assert page.is_hidden("#view-a")
    (tmp_path / "x.mp4").write_bytes(bytes(100))
    page.set_input_files("#file", str(tmp_path / "x.mp4"))
    wait_for_status(page, "The video cannot be played")
    choose(page, photo)
    assert page.is_visible("#view-a") and page.locator("#status.error").count() == 0
    open_page.said[:] = [text for text in open_page.said if "422" not in text]


def test_camera(open_page, address, engine):
    page = open_page(address, permissions=["camera"])
    asked = engine.asked
    page.click("#camera")
    page.wait_for_selector("#view-a", state="visible")
    wait_for_status(page, "camera, ")
    while engine.asked < asked + 3:
        page.wait_for_timeout(100)
    page.click("#camera")
    assert page.get_attribute("#camera", "aria-pressed") == "false"
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_video(open_page, address, engine, frame, tmp_path):
    path = str(tmp_path / "street.webm")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"VP80"), 5, (160, 120))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write WebM")
    for k in range(10):
        writer.write(np.roll(frame[:120, :160], 5 * k, axis=1))
    writer.release()
    page = open_page(address)
    page.wait_for_selector("#model-a option", state="attached")
    asked = engine.asked
    page.set_input_files("#file", path)
    wait_for_status(page, "street, 160 x 120 pixels")
    while engine.asked < asked + 3:
        page.wait_for_timeout(100)
    page.click("#pause")
    assert page.get_attribute("#pause", "aria-pressed") == "true"


def test_keyboard(open_page, address, photo):
    """Everything can be reached with Tab, and the slider and the boxes work."""
    page = open_page(address)
    choose(page, photo)
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.form || ''"))
        if reached[-1] == "opacity" and "opacity" not in reached[:-1]:
            page.keyboard.press("ArrowRight")
    assert {"file", "camera", "model-a", "model-b", "opacity", "image/png", "application/json"} <= set(reached)
    assert page.inner_text("#opacity-value") == "51 %"
    page.focus("#classes input")
    page.keyboard.press("Space")
    assert not page.is_checked("#classes input >> nth=0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_layout(scheme, width, open_page, address, photo):
    """No scrolling to the side, and text that can be read against its background."""
    page = open_page(address, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.select_option("#model-b", "second")
    choose(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, back = (
        [int(n) for n in re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{name}"))[:3]]
        for name in ("color", "backgroundColor")
    )
    assert (sum(ink) < sum(back)) == (scheme == "light") and abs(sum(ink) - sum(back)) > 500
    for selector in ("#drop", "#legend", "#view-a", "#view-b", "#difference"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_token(open_page, engine, photo):
    with running(engine, token_sha256=token_hash(TOKEN)) as url:
        page = open_page(url)
        page.wait_for_selector("#token-form", state="visible")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#token-form", state="hidden")
        choose(page, photo)
        assert page.is_visible("#view-a")
    open_page.said[:] = [text for text in open_page.said if "401" not in text]


def test_api_page(open_page, address):
    page = open_page(f"{address}/docs")
    page.wait_for_selector("h2")
    assert "POST /v1/models/{name}:segment" in page.inner_text("#paths")
    assert f"{address}/v1/models/NAME:segment" in page.inner_text("#example")
