"""The HTTP side of the service: what may be asked, what is refused, and with which status. It knows nothing of Ray."""

import asyncio
import contextlib
import hashlib
import hmac
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Tuple

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from rtseg_inference.errors import quote
from rtseg_inference.images import TooLarge, check_encoded
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..errors import InputError

MASK, OVERLAY, DETAILS = "image/png", "image/jpeg", "application/json"
FORMS = {MASK: "the mask of class ids", OVERLAY: "the overlay", DETAILS: "areas and polygons of the classes"}
BODY = "the request's body"  #: in messages
HELD_BODIES = 8  #: times the largest body: what all requests together may hold while they arrive and wait
TOKEN_SCHEME = "Bearer "

#: Files of the page, by path; no other path leads to a file.
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Answer(NamedTuple):
    """What a model made of an image."""

    content: bytes
    media_type: str
    milliseconds: Mapping[str, float]  #: of each step


class Refusal(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str):
        super().__init__(status, sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


class Engine(Protocol):
    """What runs the models."""

    models: Mapping[str, Mapping[str, Any]]  #: by name: what ``GET /v1/models`` says of it

    async def segment(self, name: str, data: bytes, form: str) -> Answer:
        """The answer to an encoded image in one of :data:`FORMS`.

        Raises:
            Refusal: the queue is full, or the model cannot be asked.
            InputError: the image cannot be decoded or segmented.
        """

    async def obstacle(self) -> Optional[str]:
        """Why not every model can be asked; None if all can."""


@dataclass(frozen=True)
class Limits:
    """What a request may cost, and who may ask."""

    body: int  #: bytes
    seconds: float  #: for a request to arrive, and for its answer
    token_sha256: Optional[str] = field(default=None, repr=False)  #: of the token that requests must carry
    hosts: Optional[Tuple[str, ...]] = None  #: names that requests may address; None for any


def make_app(engine: Engine, limits: Limits) -> "Guard":
    """The service as an ASGI application."""
    app = FastAPI(
        title="paddle_rtseg",
        version=__version__,
        summary="Semantic segmentation of images",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
    )
    held = Held(HELD_BODIES * limits.body)

    def authorised(request: Request) -> None:
        _check_token(request.headers.get("authorization", ""), limits.token_sha256)

    guarded = [Depends(authorised)]

    @app.get("/v1/models", dependencies=guarded, summary="List the models")
    async def list_models() -> Any:
        return JSONResponse({"models": [{"name": name, **about} for name, about in engine.models.items()]})

    @app.post(
        "/v1/models/{name}:segment",
        dependencies=guarded,
        summary="Segment an image",
        description="The body is the image file itself. Accept chooses the answer: "
        + ", ".join(f"{form} is {meaning}" for form, meaning in FORMS.items())
        + ". Server-Timing has the milliseconds of each step.",
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra={"requestBody": {"required": True, "content": {"image/*": {"schema": _BINARY}}}},
    )
    async def segment(name: str, request: Request) -> Any:
        if name not in engine.models:
            known = ", ".join(engine.models)
            raise Refusal(404, f"expected one of the models {known}, got {quote(name)!r}; see GET /v1/models")
        form = _form(request.headers.get("accept", "*/*"))
        _check_content_type(request.headers.get("content-type", ""))
        with held.by_one_request() as holds:
            data = await _within(limits.seconds, _body(request, limits.body, holds), 408, "a body that arrives")
            check_encoded(data, BODY)
            answer = await _within(limits.seconds, engine.segment(name, data, form), 504, "an answer")
        return Response(answer.content, media_type=answer.media_type, headers={"server-timing": _timing(answer)})

    @app.get("/healthz", summary="Whether the service runs")
    async def healthz() -> Any:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", summary="Whether every model can be asked", responses={503: {"description": "Not ready"}})
    async def readyz() -> Any:
        obstacle = await engine.obstacle()
        if obstacle:
            raise Refusal(503, obstacle)
        return JSONResponse({"status": "ready"})

    for path in PAGE:
        app.add_api_route(path, _file(path), include_in_schema=False, response_class=Response)

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(InputError, _not_an_image)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _nobody_waits)
    return Guard(app, limits.hosts)


class Guard:
    """Adds the security headers, holds requests to the host's names, and lets the last ones finish before the end."""

    def __init__(self, app: ASGIApp, hosts: Optional[Tuple[str, ...]]):
        self.app, self.hosts = app, hosts
        self.in_flight = 0
        self.draining = False

    async def drain(self, seconds: float) -> int:
        """Refuse new requests, wait for those that have begun, and return how many had not ended by then."""
        self.draining = True
        deadline = asyncio.get_running_loop().time() + seconds
        while self.in_flight and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        return self.in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {name.encode(): value.encode() for name, value in HEADERS.items()}
                if self.draining:
                    headers[b"connection"] = b"close"
                message["headers"] = [*message.get("headers", []), *headers.items()]
            await send(message)

        refusal = self._refusal(scope)
        self.in_flight += 1
        try:
            await (refusal or self.app)(scope, receive, send_with_headers)
        finally:
            self.in_flight -= 1

    def _refusal(self, scope: Scope) -> Optional[Response]:
        if self.draining and scope["path"] != "/healthz":
            return _sentence(503, "expected a service that runs, got one that is shutting down; try another replica")
        host = _header(scope, b"host").rpartition("]")[0] or _header(scope, b"host").partition(":")[0]
        if self.hosts is not None and host.lstrip("[") not in self.hosts:
            return _sentence(
                421, f"expected the host {' or '.join(self.hosts)}, got {quote(host)!r}; use it, or set a token"
            )
        return None


class Held:
    """The bytes that all requests hold."""

    def __init__(self, most: int):
        self.most, self.total = most, 0

    @contextlib.contextmanager
    def by_one_request(self) -> Iterator["Holds"]:
        holds = Holds(self)
        try:
            yield holds
        finally:
            self.total -= holds.size


class Holds:
    """Those that one request holds."""

    def __init__(self, held: Held):
        self.held, self.size = held, 0

    def take(self, size: int) -> None:
        """Hold more, or raise :class:`Refusal`."""
        if self.held.total + size > self.held.most:
            raise Refusal(429, "expected room for the body, got none; try again in a moment", **{"retry-after": "1"})
        self.held.total += size
        self.size += size


async def _body(request: Request, most: int, holds: Holds) -> bytes:
    """The body, as long as it is within the limits."""
    announced = request.headers.get("content-length", "0")
    too_long = Refusal(413, f"expected a body of at most {most >> 20} MiB, got more; shrink the image")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > most:
        raise too_long
    data = bytearray()
    async for part in request.stream():
        if len(data) + len(part) > most:
            raise too_long
        holds.take(len(part))
        data += part
    return bytes(data)


async def _within(seconds: float, task: Any, status: int, what: str) -> Any:
    try:
        return await asyncio.wait_for(task, seconds)
    except asyncio.TimeoutError:
        raise Refusal(status, f"expected {what} within {seconds:g} seconds, got none; try again later") from None


def _check_token(header: str, expected: Optional[str]) -> None:
    """Compares hashes, in constant time: the length of what was guessed does not matter."""
    if expected is None:
        return
    given = header[len(TOKEN_SCHEME) :] if header.startswith(TOKEN_SCHEME) else ""
    if not hmac.compare_digest(token_hash(given), expected):
        raise Refusal(
            401,
            "expected the service's token as Authorization: Bearer TOKEN, got none or another; send it",
            **{"www-authenticate": "Bearer"},
        )


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _form(accept: str) -> str:
    """The form of the answer that the header Accept prefers; the mask where it takes any."""
    ranges: List[Tuple[float, str]] = []
    for part in accept.split(",")[:50]:
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        ranges.append((-_quality(parameters), kind))
    for quality, kind in sorted(ranges, key=lambda entry: entry[0]):
        for form in FORMS:
            if quality < 0 and kind in (form, form.partition("/")[0] + "/*", "*/*"):
                return form
    raise Refusal(406, f"expected Accept: {' or '.join(FORMS)}, got {quote(accept)!r}; choose one")


def _quality(parameters: List[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _check_content_type(header: str) -> None:
    kind = header.partition(";")[0].strip().lower()
    if kind and kind != "application/octet-stream" and not kind.startswith("image/"):
        raise Refusal(
            415, f"expected an image file as the body, got {quote(kind)}; send Content-Type: image/jpeg or such"
        )


def _timing(answer: Answer) -> str:
    return ", ".join(f"{step};dur={milliseconds:.2f}" for step, milliseconds in answer.milliseconds.items())


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _file(path: str) -> Any:
    name, kind = PAGE[path]
    content = resources.files(__package__).joinpath("page", name).read_bytes()

    async def send_file() -> Any:
        return Response(content, media_type=kind)

    return send_file


def _sentence(status: int, sentence: str, **headers: str) -> Response:
    return JSONResponse({"error": sentence}, status, headers)


async def _refused(request: Request, error: Any) -> Response:
    return _sentence(error.status, error.sentence, **error.headers)


async def _not_an_image(request: Request, error: Any) -> Response:
    return _sentence(413 if isinstance(error, TooLarge) else 422, str(error))


async def _http_error(request: Request, error: Any) -> Response:
    return _sentence(error.status_code, f"{error.detail}; see /docs", **(error.headers or {}))


async def _nobody_waits(request: Request, error: Any) -> Response:
    return _sentence(400, "expected the whole body, got a part of it; send it again")


_BINARY = {"type": "string", "format": "binary"}
_RESPONSES: Dict[Any, Dict[str, Any]] = {
    200: {
        "description": "The result",
        "content": {form: {"schema": {"type": "object"} if form == DETAILS else _BINARY} for form in FORMS},
    },
    400: {"description": "The body ended early"},
    401: {"description": "The token is missing or wrong"},
    404: {"description": "There is no such model"},
    406: {"description": "Accept takes none of the forms"},
    408: {"description": "The body did not arrive in time"},
    413: {"description": "The body or the image is too large"},
    415: {"description": "The body is not an image file"},
    422: {"description": "The image cannot be decoded or segmented"},
    429: {"description": "The queue is full"},
    503: {"description": "The model cannot be asked"},
    504: {"description": "The answer did not come in time"},
}
