"""The HTTP side without Ray: statuses, sentences, bounds, the token, and what the page's files may do."""

import asyncio
import re

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra ray is not installed")
pytest.importorskip("httpx", reason="httpx, by which Starlette tests, is not installed")
import httpx
from starlette.testclient import TestClient

from paddle_rtseg.errors import InputError
from paddle_rtseg.serve import api
from paddle_rtseg.serve.api import Answer, Limits, Refusal

JPEG = {"content-type": "image/jpeg"}
TOKEN = "a token of the service"
SVG = "http://www.w3.org/2000/svg"  # the name of a format
SEGMENT = "/v1/models/streets:segment"


def image(height=8, width=8, suffix=".png"):
    return cv2.imencode(suffix, np.full((height, width, 3), 127, np.uint8))[1].tobytes()


class Engine:
    """Answers at once with the form that was asked for, unless told otherwise."""

    models = {"streets": {"classes": []}}

    def __init__(self, error=None, seconds=0.0, missing=None):
        self.error, self.seconds, self.missing, self.cancelled = error, seconds, missing, 0

    async def segment(self, name, data, form):
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return Answer(form.encode(), form, {"network": 1.5})

    async def obstacle(self):
        return self.missing


def client(engine=None, **limits):
    return TestClient(api.make_app(engine or Engine(), Limits(**{"body": 1 << 20, "seconds": 10, **limits})))


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("application/json", "application/json"),
        ("image/png;q=0.1, application/json", "application/json"),
        ("text/html, application/*;q=0.5", "application/json"),
        ("IMAGE/JPEG ; q=1.0", "image/jpeg"),
        ("image/png;q=x, image/jpeg;q=0.2", "image/jpeg"),
    ],
)
def test_form_of_the_answer(accept, form):
    headers = {**JPEG, **({"accept": accept} if accept else {})}
    answer = client().post(SEGMENT, content=image(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, form, form.encode())
    assert answer.headers["server-timing"] == "network;dur=1.50"


BIG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    + (30000).to_bytes(4, "big") * 2
    + b"\x08\x02\0\0\0"
    + bytes(4)
    + b"\0\0\0\0IEND"
    + bytes(4)
)
REFUSED = [
    (413, "expected a body of at most 1 MiB, got more", image() + bytes(1 << 20), {}),
    (413, "megapixels and 65500 pixels a side, got 30000 x 30000; shrink the request's body", BIG, {}),
    (415, "got multipart/form-data; send Content-Type", image(), {"content-type": "multipart/form-data; boundary=x"}),
    (415, "got application/x-www-form-urlencoded", image(), {"content-type": "application/x-www-form-urlencoded"}),
    (422, "got the request's body, which is empty", b"", {}),
    (422, "which has the header of no format", b"no image", {}),
    (422, "which is cut short", image()[:40], {}),
    (
        406,
        "expected Accept: image/png or image/jpeg or application/json, got 'text/html'",
        image(),
        {"accept": "text/html"},
    ),
    (406, "got 'image/png;q=0'", image(), {"accept": "image/png;q=0"}),
]


@pytest.mark.parametrize(("status", "words", "body", "headers"), REFUSED)
def test_refused(status, words, body, headers):
    answer = client().post(SEGMENT, content=body, headers={**JPEG, **headers})
    assert answer.status_code == status and list(answer.json()) == ["error"]
    assert words in answer.json()["error"] and len(answer.json()["error"]) < 300


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, "2000000"])
def test_announced_length_is_believed_before_a_byte_is_read(length):
    def body():
        yield b"x"
        pytest.fail("the body was read on")

    answer = client().post(SEGMENT, content=body(), headers={**JPEG, "content-length": length})
    assert answer.status_code == 413


def test_length_that_is_not_announced():
    answer = client().post(SEGMENT, content=iter([bytes(1 << 19)] * 4), headers=JPEG)
    assert answer.status_code == 413


def test_bodies_together_are_bounded(monkeypatch):
    monkeypatch.setattr(api, "HELD_BODIES", 0)
    answer = client().post(SEGMENT, content=image(), headers=JPEG)
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1"


def test_room_is_given_back():
    service = client(body=1000)
    for _ in range(3 * api.HELD_BODIES):
        assert service.post(SEGMENT, content=b"x" * 900, headers=JPEG).status_code == 422
        assert service.post(SEGMENT, content=image(), headers=JPEG).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(Refusal(429, "full", **{"retry-after": "1"}), 429), (Refusal(503, "gone"), 503), (InputError("no"), 422)],
)
def test_refused_by_the_model(error, status):
    answer = client(Engine(error=error)).post(SEGMENT, content=image(), headers=JPEG)
    assert answer.status_code == status and "error" in answer.json()


def test_answer_that_takes_too_long():
    engine = Engine(seconds=60)
    answer = client(engine, seconds=0.05).post(SEGMENT, content=image(), headers=JPEG)
    assert answer.status_code == 504 and "within 0.05 seconds" in answer.json()["error"]
    assert engine.cancelled == 1


def asgi_call(app, parts, stop_after=None):
    """POST a body in parts, each a bytes or a number of seconds to wait; the status, or None without an answer."""
    sent = []

    async def receive():
        while parts:
            part = parts.pop(0)
            if isinstance(part, float):
                await asyncio.sleep(part)
                continue
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": SEGMENT, "raw_path": SEGMENT.encode(), "query_string": b""}
    scope.update(headers=[(b"content-type", b"image/jpeg"), (b"host", b"localhost")], http_version="1.1", scheme="http")
    asyncio.run(app({**scope, "server": ("localhost", 80), "client": None, "root_path": ""}, receive, send))
    return next((message["status"] for message in sent if message["type"] == "http.response.start"), None)


def test_body_that_does_not_arrive():
    app = api.make_app(Engine(), Limits(body=1 << 20, seconds=0.05))
    assert asgi_call(app, [image()[:20], 60.0, image()[20:]]) == 408
    assert app.in_flight == 0


def test_half_a_request():
    app = api.make_app(Engine(), Limits(body=1 << 20, seconds=10))
    assert asgi_call(app, [image()[:20], None]) == 400
    assert app.in_flight == 0


def test_unknown_paths_and_methods():
    service = client()
    for method, path, status in [
        ("POST", "/v1/models/other:segment", 404),
        ("POST", "/v1/models/..%2f..%2fetc%2fpasswd:segment", 404),
        ("GET", "/etc/passwd", 404),
        ("GET", "/..%2fapi.py", 404),
        ("GET", "/page/index.html", 404),
        ("GET", SEGMENT, 405),
    ]:
        answer = service.request(method, path, headers=JPEG)
        assert answer.status_code == status and "error" in answer.json(), path
    assert "got 'other'" in service.post("/v1/models/other:segment").json()["error"]


def test_token():
    service = client(token_sha256=api.token_hash(TOKEN))
    for header in (None, TOKEN, f"Bearer {TOKEN}x", "Bearer ", "Bearer é", f"Basic {TOKEN}"):
        headers = {} if header is None else {"authorization": header.encode("utf-8")}
        for answer in (service.get("/v1/models", headers=headers), service.post(SEGMENT, headers=headers)):
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert service.get("/v1/models", headers=headers).json() == {"models": [{"name": "streets", "classes": []}]}
    assert service.post(SEGMENT, content=image(), headers={**JPEG, **headers}).status_code == 200
    for path in ("/healthz", "/readyz", *api.PAGE):
        assert service.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 421), ("[::2]", 421), ("", 421)],
)
def test_other_hosts_are_refused_without_a_token(host, status):
    """A page elsewhere whose name is made to mean this machine cannot read the answers."""
    service = client(hosts=("localhost", "127.0.0.1", "::1"))
    assert service.get("/v1/models", headers={"host": host}).status_code == status


def test_readiness():
    assert client().get("/readyz").json() == {"status": "ready"}
    answer = client(Engine(missing="expected a replica")).get("/readyz")
    assert answer.status_code == 503 and answer.json() == {"error": "expected a replica"}


def test_draining_lets_the_last_request_finish():
    async def scenario():
        app = api.make_app(Engine(seconds=0.3), Limits(body=1 << 20, seconds=10))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as service:
            last = asyncio.create_task(service.post(SEGMENT, content=image(), headers=JPEG))
            while not app.in_flight:
                await asyncio.sleep(0.01)
            drained = asyncio.create_task(app.drain(10))
            await asyncio.sleep(0.05)
            refused = await service.post(SEGMENT, content=image(), headers=JPEG)
            alive = await service.get("/healthz")
            assert (refused.status_code, refused.headers["connection"], alive.status_code) == (503, "close", 200)
            assert await drained == 0 and last.done() and last.result().status_code == 200

    asyncio.run(scenario())


def test_draining_has_an_end():
    async def scenario():
        app = api.make_app(Engine(seconds=60), Limits(body=1 << 20, seconds=90))
        app.in_flight = 1
        assert await app.drain(0.1) == 1

    asyncio.run(scenario())


def test_page_loads_nothing_from_elsewhere():
    service = client()
    for path, (name, kind) in api.PAGE.items():
        answer = service.get(path)
        assert answer.headers["content-type"] == kind and answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert not re.search(r"https?://|//\w", answer.text.replace(SVG, "")), name
        assert not re.search(r"<script>|\son\w+=|style=|innerHTML|eval\(", answer.text), name


def test_openapi():
    described = client().get("/openapi.json").json()
    assert set(described["paths"]) == {"/v1/models", "/v1/models/{name}:segment", "/healthz", "/readyz"}
    responses = described["paths"]["/v1/models/{name}:segment"]["post"]["responses"]
    assert {"200", "401", "413", "415", "422", "429", "504"} <= set(responses)
