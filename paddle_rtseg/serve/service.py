"""The service on Ray Serve: a process for the HTTP side, and for each model its replicas."""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import signal
import socket
import threading
import time
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from rtseg_inference import cli
from rtseg_inference.environment import usable_cores
from rtseg_inference.errors import NotInstalled, first_line, quote
from rtseg_inference.predictor import Predictor

from ..cluster import connected, import_ray
from ..errors import InputError
from ..weights import released

with contextlib.suppress(ImportError):  # require() says what is missing
    from ray import serve as ray_serve
    from ray.exceptions import RayActorError, RayError, RayTaskError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    from .api import Answer, Guard, Limits, Refusal, make_app, token_hash
    from .replica import Plan, Replica, set_up

APPLICATION = "paddle_rtseg"
TOKEN = "RTSEG_SERVE_TOKEN"
LEAST_TOKEN = 16  #: characters
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_REQUESTS = 20_000  #: that are open at once; more are answered 503 by Ray
DRAIN = 30.0  #: seconds that requests which have begun may take after the service was asked to end
STATUS_AGE = 1.0  #: seconds for which the answer to /readyz is kept
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Model(NamedTuple):
    """A model that has been tried on the cluster."""

    plan: "Plan"
    about: Dict[str, Any]  #: what ``GET /v1/models`` says of it
    options: Dict[str, Any]  #: of its deployment


def serve(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C comes; what has begun is then finished.

    Raises:
        InputError: nothing can be started as asked.
    """
    require()
    token = read_token(args.token_file)
    check_host(args.host, token)
    models = named_models(args.model)
    threads = args.threads or max(1, usable_cores() // (len(models) * args.replicas))
    cpus = max(usable_cores(), threads * args.replicas * len(models))
    check_free(args.host, args.port)
    with connected(args.address, cpus=cpus, metrics_port=args.metrics_port) as ray:
        check_room(ray, threads * args.replicas * len(models))
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        application = make_application(args, models, threads, token)
        with started(args, application) as handle:
            print(f"serving {', '.join(models)} on {url(args.host, args.port)}", flush=True)
            print(f"Prometheus metrics of Ray: {metrics_address(ray)}", flush=True)
            wait_for_the_end()
            print("finishing what has begun", flush=True)
            left = handle.drain.remote(DRAIN).result(timeout_s=DRAIN + 10)
            if left:
                print(f"stopped {left} requests that had not ended within {DRAIN:g} seconds", flush=True)


def build(options: Mapping[str, Any]) -> Any:
    """The application for ``serve deploy`` and KubeRay, from the command's flags without their dashes.

    Args:
        options: such as ``{"model": ["/models/camvid"], "replicas": 2}``. Ray's own configuration has the address and
            the port. The environment variable RTSEG_SERVE_TOKEN must hold a token.
    """
    require()
    from ..tools.serve import parser

    args = parser().parse_args(
        [word for name, value in options.items() for one in _as_list(value) for word in (f"--{name}", str(one))]
    )
    token = read_token(args.token_file)
    check_host("0.0.0.0", token)
    models = named_models(args.model)
    return make_application(args, models, args.threads or usable_cores(), token)


def require() -> None:
    """Raise :class:`.NotInstalled` unless Ray Serve and FastAPI are there."""
    import_ray()
    try:
        import fastapi  # noqa: F401
        from ray import serve  # noqa: F401
    except ImportError as e:
        raise NotInstalled(
            f'expected the packages of Ray Serve, got {quote(e)}; pip install "paddle_rtseg[ray]"'
        ) from e


def make_application(args: argparse.Namespace, names: Mapping[str, str], threads: int, token: Optional[str]) -> Any:
    """The application of Ray Serve, each of whose models has been tried."""
    models = [try_model(args, name, folder, threads) for name, folder in names.items()]
    limits = Limits(
        body=args.max_body << 20,
        seconds=args.timeout,
        token_sha256=None if token is None else token_hash(token),
        hosts=None if token else (*LOOPBACK, args.host),
    )
    about = {model.plan.name: model.about for model in models}

    def build_app() -> Guard:
        return make_app(RayEngine(about), limits)

    front = ray_serve.deployment(
        ray_serve.ingress(build_app)(Front),
        name="front",
        max_ongoing_requests=MOST_REQUESTS,
        ray_actor_options={"num_cpus": 0},
    )
    return front.bind(
        *(ray_serve.deployment(Replica, name=model.plan.name, **model.options).bind(model.plan) for model in models)
    )


def try_model(args: argparse.Namespace, name: str, model: str, threads: int) -> Model:
    """Load a model once on the cluster, as its replicas will, and check it against its golden output."""
    resources = {"num_cpus": threads, "num_gpus": 1 if args.device == "gpu" else 0}
    task = import_ray().remote(**resources, max_calls=1, max_retries=0)(chosen)
    wish = argparse.Namespace(
        model=model,
        device=args.device,
        backend=args.backend,
        precision=args.precision,
        threads=threads,
        provider=None,
        strict=False,
    )
    try:
        configuration, about = import_ray().get(task.remote(wish, args.max_megapixels))
    except RayTaskError as e:
        if isinstance(e.cause, InputError):
            raise InputError(str(e.cause)) from e
        raise
    except RayError as e:
        raise InputError(f"cannot load {model!r} ({quote(first_line(e))}); check its memory and --threads") from e
    most = about["largest_batch"] or args.batch_size
    plan = Plan(name, model, configuration, min(args.batch_size, most), args.batch_wait / 1000, args.max_megapixels)
    options = {
        "num_replicas": args.replicas,
        "max_ongoing_requests": 2 * plan.batch_size,  # the next batch is decoded while the network runs
        "max_queued_requests": args.queue,
        "ray_actor_options": resources,
        "graceful_shutdown_timeout_s": DRAIN,
    }
    return Model(plan, about, options)


def chosen(wish: argparse.Namespace, max_megapixels: int) -> Tuple[Any, Dict[str, Any]]:
    """The configuration that runs the wished model, and what there is to say of it."""
    set_up(max_megapixels)
    wish.model = released.exported(wish.model)
    predictor = cli.choose(wish, None)
    return predictor.configuration, describe(predictor)


def describe(predictor: Predictor) -> Dict[str, Any]:
    """A model as ``GET /v1/models`` has it."""
    contract = predictor.contract
    shape = predictor.preprocess.shape
    rows = contract.input.layout.index("H")
    return {
        "network": contract.network,
        "classes": [
            {"id": number, "name": name, "color": list(color)}
            for number, (name, color) in enumerate(zip(contract.classes, contract.palette))
        ],
        "network_input": {
            key: [None if side < 0 else side for side in sides[rows : rows + 2]]
            for key, sides in (("smallest", shape.min), ("largest", shape.max))
        },
        "largest_batch": None if shape.max[0] < 0 else shape.max[0],
        "sha256": contract.sha256,
        "paddle_version": contract.paddle_version,
        "runs_on": str(predictor.configuration),
        "threads": predictor.configuration.threads,
    }


class Front:
    """The HTTP side in its process; :func:`ray.serve.ingress` adds ``app``."""

    app: "Guard"

    def __init__(self, *models: Any):
        """``models``: their handles, by which Ray knows that they belong to the application."""

    async def drain(self, seconds: float) -> int:
        return await self.app.drain(seconds)


class RayEngine:
    """The models behind Ray Serve; an :class:`.api.Engine`."""

    def __init__(self, models: Mapping[str, Mapping[str, Any]]):
        self.models = models
        self._handles = {name: ray_serve.get_deployment_handle(name, APPLICATION) for name in models}
        self._obstacle: Optional[str] = None
        self._asked = -STATUS_AGE

    async def segment(self, name: str, data: bytes, form: str) -> "Answer":
        try:
            answer = await self._handles[name].remote(data, form)
        except BackPressureError:
            sentence = f"expected room in the queue of {name}, got a full one; try again in a moment"
            raise Refusal(429, sentence, **{"retry-after": "1"}) from None
        except (RayActorError, DeploymentUnavailableError):
            sentence = f"expected {name} to run, got a process that ended; send the image again"
            raise Refusal(503, sentence, **{"retry-after": "1"}) from None
        if isinstance(answer, str):
            raise InputError(answer)
        return answer

    async def obstacle(self) -> Optional[str]:
        if time.monotonic() - self._asked >= STATUS_AGE:
            self._asked = time.monotonic()
            self._obstacle = await asyncio.get_running_loop().run_in_executor(None, self._find_obstacle)
        return self._obstacle

    def _find_obstacle(self) -> Optional[str]:
        application = ray_serve.status().applications.get(APPLICATION)
        deployments = application.deployments if application else {}
        for name in self.models:
            running = deployments[name].replica_states.get("RUNNING", 0) if name in deployments else 0
            if not running:
                return f"expected a replica of {name} that runs, got none; wait until it has started"
        return None


@contextlib.contextmanager
def started(args: argparse.Namespace, application: Any) -> Iterator[Any]:
    """Yield the handle of the running application, and end Ray Serve afterwards."""
    try:
        ray_serve.start(
            proxy_location="HeadOnly",
            http_options={"host": args.host, "port": args.port, "request_timeout_s": 3.0 * args.timeout},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        handle = ray_serve.run(application, name=APPLICATION, route_prefix="/")
    except (RayError, RuntimeError) as e:
        raise InputError(
            f"cannot start the service ({quote(first_line(e))}); see Ray's logs, by default in /tmp/ray/session_latest"
        ) from e
    try:
        yield handle
    finally:
        ray_serve.shutdown()


def wait_for_the_end() -> None:
    """Wait for SIGTERM or Ctrl-C."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    while not ended.wait(1):
        pass


def named_models(words: Sequence[str]) -> Dict[str, str]:
    """The folders or bundled names that ``--model`` lists, by the names that requests use."""
    found: Dict[str, str] = {}
    for word in words:
        match = None if os.path.exists(word) else _NAMED.fullmatch(word)
        name, model = match.groups() if match else (os.path.basename(os.path.abspath(word)), word)
        if not _NAME.fullmatch(name):
            raise InputError(
                f"expected a model named by letters, digits, '.', '_' and '-', got {quote(name)!r}; give --model NAME=D"
            )
        if name in found or name == "front":
            raise InputError(f"expected models of different names, got '{name}' again; give --model NAME=D")
        found[name] = model if model in released.SHA256 else os.path.abspath(model)
    return found


def read_token(file: Optional[str]) -> Optional[str]:
    """The token of a file or of the environment; None if there is none.

    Raises:
        InputError: the file cannot be read, or the token is short or holds other characters than visible ASCII.
    """
    token, source = os.environ.get(TOKEN), TOKEN
    if file is not None:
        source = repr(file)
        try:
            with open(file, "rb") as f:
                token = f.read(1 << 16).decode("latin-1").strip()
        except OSError as e:
            raise InputError(f"cannot read the token file {file!r} ({e.strerror}); check --token_file") from e
    if token is None:
        return None
    if not re.fullmatch(rf"[!-~]{{{LEAST_TOKEN},1000}}", token):
        raise InputError(
            f"expected a token of {LEAST_TOKEN} or more letters, digits and signs in {source}, got "
            f"{len(token)} characters; make one with: openssl rand -hex 32"
        )
    return token


def check_host(host: str, token: Optional[str]) -> None:
    """Raise :class:`.InputError` if other machines can reach the host and there is no token."""
    if token is None and not is_loopback(host):
        raise InputError(
            f"expected a token with --host {quote(host)}, which other machines can reach, got none; set {TOKEN}, give "
            "--token_file, or leave --host out"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_free(host: str, port: int) -> None:
    """Raise :class:`.InputError` unless the address can be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, UnicodeError) as e:
        raise InputError(
            f"cannot listen on {quote(host)} port {port} ({getattr(e, 'strerror', None) or e}); choose another --port "
            "or --host"
        ) from e


def check_room(ray: Any, cpus: int) -> None:
    """Raise :class:`.InputError` unless the cluster has the cores, and no other service."""
    there = int(ray.cluster_resources().get("CPU", 0))
    if there < cpus:
        raise InputError(
            f"expected a cluster with {cpus} cores for all replicas, got {there}; lower --replicas or --threads"
        )
    with contextlib.suppress(ValueError):
        ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        raise InputError("expected a cluster without a service, got one on which Ray Serve runs; shut that down first")


def metrics_address(ray: Any) -> str:
    """Where Prometheus finds the metrics of this machine's part of the cluster."""
    nodes = [node for node in ray.nodes() if node["NodeID"] == ray.get_runtime_context().get_node_id()]
    return f"http://{nodes[0]['NodeManagerAddress']}:{nodes[0]['MetricsExportPort']}/metrics"


def url(host: str, port: int) -> str:
    """The address of the page."""
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _as_list(value: Any) -> List[Any]:
    return value if isinstance(value, list) else [value]
