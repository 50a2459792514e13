"""The service on Ray Serve: a process for the HTTP side, and for each model its replicas."""

import argparse
import asyncio
import contextlib
import io
import logging
import signal
import threading
import time
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import ray
from ray import serve as ray_serve
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from rtseg_inference import cli
from rtseg_inference.environment import usable_cores
from rtseg_inference.errors import first_line, quote
from rtseg_inference.predictor import Predictor

from ..cluster import connected
from ..errors import InputError
from ..weights import released
from .api import Answer, Guard, Limits, Refusal, make_app, token_hash
from .replica import Plan, Replica, set_up
from .settings import FRONT, LOOPBACK, Settings, read_settings, url

APPLICATION = "paddle_rtseg"
MOST_REQUESTS = 20_000  #: that are open at once; more are answered 503 by Ray
DRAIN = 30.0  #: seconds that requests which have begun may take after the service was asked to end
STATUS_AGE = 1.0  #: seconds for which the answer to /readyz is kept


class Model(NamedTuple):
    """A model that has been tried on the cluster."""

    plan: Plan
    about: Dict[str, Any]  #: what ``GET /v1/models`` says of it
    options: Dict[str, Any]  #: of its deployment


def serve(args: argparse.Namespace, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C comes; what has begun is then finished.

    Raises:
        InputError: nothing can be started as asked.
    """
    replicas = len(settings.models) * args.replicas
    threads = args.threads or max(1, usable_cores() // replicas)
    cpus = max(usable_cores(), threads * replicas)
    with connected(args.address, cpus=cpus, metrics_port=args.metrics_port):
        check_room(threads * replicas)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        application = make_application(args, settings, threads)
        with started(args, application) as handle:
            print(f"serving {', '.join(settings.models)} on {url(args.host, args.port)}", flush=True)
            print(f"Prometheus metrics of Ray: {metrics_address()}", flush=True)
            try:
                wait_for_the_end()
            finally:
                finish(handle)


def finish(handle: Any) -> None:
    """Refuse new requests and wait for those that have begun."""
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
    from ..tools.serve import parser

    args = parser().parse_args(
        [word for name, value in options.items() for one in _as_list(value) for word in (f"--{name}", str(one))]
    )
    args.host = "0.0.0.0"  # whatever Ray's configuration says
    return make_application(args, read_settings(args), args.threads or usable_cores())


def make_application(args: argparse.Namespace, settings: Settings, threads: int) -> Any:
    """The application of Ray Serve, each of whose models has been tried."""
    models = [try_model(args, name, folder, threads) for name, folder in settings.models.items()]
    limits = Limits(
        body=args.max_body << 20,
        seconds=args.timeout,
        token_sha256=None if settings.token is None else token_hash(settings.token),
        hosts=None if settings.token else (*LOOPBACK, args.host),
    )
    about = {model.plan.name: model.about for model in models}

    def build_app() -> Guard:
        return make_app(RayEngine(about), limits)

    front = ray_serve.deployment(
        ray_serve.ingress(build_app)(Front),
        name=FRONT,
        max_ongoing_requests=MOST_REQUESTS,
        ray_actor_options={"num_cpus": 0},
    )
    return front.bind(
        *(ray_serve.deployment(Replica, name=model.plan.name, **model.options).bind(model.plan) for model in models)
    )


def try_model(args: argparse.Namespace, name: str, model: str, threads: int) -> Model:
    """Load a model once on the cluster, as its replicas will, and check it against its golden output."""
    resources = {"num_cpus": threads, "num_gpus": 1 if args.device == "gpu" else 0}
    task = ray.remote(**resources, max_calls=1, max_retries=0)(chosen)
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
        configuration, about = ray.get(task.remote(wish, args.max_megapixels))
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
    predictor = cli.choose(wish, None, Predictor)
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

    app: Guard

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

    async def segment(self, name: str, data: bytes, form: str) -> Answer:
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
        shut_down()


def shut_down() -> None:
    """End Ray Serve and leave Ray, without Ray's remarks on the controller that it kills while others ask it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ray_serve.shutdown()
        ray.shutdown()


def wait_for_the_end() -> None:
    """Wait for SIGTERM or Ctrl-C."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    while not ended.wait(1):
        pass


def check_room(cpus: int) -> None:
    """Raise :class:`.InputError` unless the cluster has the cores, and no other service."""
    there = int(ray.cluster_resources().get("CPU", 0))
    if there < cpus:
        raise InputError(
            f"expected a cluster with {cpus} cores for all replicas, got {there}; lower --replicas or --threads"
        )
    with contextlib.suppress(ValueError):
        ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        raise InputError("expected a cluster without a service, got one on which Ray Serve runs; shut that down first")


def metrics_address() -> str:
    """Where Prometheus finds the metrics of this machine's part of the cluster."""
    nodes = [node for node in ray.nodes() if node["NodeID"] == ray.get_runtime_context().get_node_id()]
    return f"http://{nodes[0]['NodeManagerAddress']}:{nodes[0]['MetricsExportPort']}/metrics"


def _as_list(value: Any) -> List[Any]:
    return value if isinstance(value, list) else [value]
