"""Segment over HTTP, with a page to try it in a browser: ``python -m paddle_rtseg.serve --model D``.

Runs on Ray Serve; ``docs/service.md`` describes the requests.
"""

import argparse

from rtseg_inference.arguments import MOST_BATCH, MOST_THREADS, Parser, whole_number
from rtseg_inference.configuration import AUTO, BACKENDS
from rtseg_inference.contract import PRECISIONS
from rtseg_inference.images import MOST_MEGAPIXELS

from paddle_rtseg.weights import released


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.serve",
        description="Segment images over HTTP with exported models, on Ray Serve; / is a page to try them.",
        epilog="Exit status: 0 ended by SIGTERM, 2 nothing could be started, 130 ended by Ctrl-C. What has begun is "
        "finished first.",
    )
    p.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="[NAME=]D",
        help=f"folder of an exported model (with deploy.yaml), or one of {', '.join(released.SHA256)}; repeat it for "
        "more models",
    )
    p.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; others than loopback need a token (default 127.0.0.1)",
    )
    p.add_argument("--port", type=whole_number(1, 65535), default=8000, metavar="N", help="port (default 8000)")
    p.add_argument(
        "--token_file",
        metavar="FILE",
        help="file with the token that requests must carry (default: the environment variable RTSEG_SERVE_TOKEN)",
    )
    p.add_argument("--device", choices=list(BACKENDS), default="cpu", help="cpu or gpu (default cpu)")
    p.add_argument(
        "--backend",
        choices=[AUTO, *sorted({backend for backends in BACKENDS.values() for backend in backends})],
        default=AUTO,
        help="auto is the fastest that reproduces the model's golden output (default auto)",
    )
    p.add_argument("--precision", choices=[AUTO, *PRECISIONS], default=AUTO, help="as for infer (default auto)")
    p.add_argument(
        "--replicas", type=whole_number(1, 1000), default=1, metavar="N", help="processes of each model (default 1)"
    )
    p.add_argument(
        "--threads",
        type=whole_number(0, MOST_THREADS),
        default=0,
        metavar="N",
        help="processor threads of a replica; 0 shares this machine's cores out among them (default 0)",
    )
    p.add_argument(
        "--batch_size",
        type=whole_number(1, MOST_BATCH),
        default=4,
        metavar="N",
        help="most images of one size in a batch (default 4)",
    )
    p.add_argument(
        "--batch_wait",
        type=whole_number(0, 1000),
        default=5,
        metavar="MS",
        help="milliseconds that an image waits for others (default 5)",
    )
    p.add_argument(
        "--queue",
        type=whole_number(1, 100_000),
        default=64,
        metavar="N",
        help="images of a model that wait for a replica; more are answered 429 (default 64)",
    )
    p.add_argument(
        "--max_body", type=whole_number(1, 1024), default=32, metavar="MIB", help="most MiB of a request (default 32)"
    )
    p.add_argument(
        "--max_megapixels",
        type=whole_number(1, MOST_MEGAPIXELS),
        default=25,
        metavar="N",
        help="most megapixels of an image and of the network's input (default 25)",
    )
    p.add_argument(
        "--timeout",
        type=whole_number(1, 3600),
        default=30,
        metavar="S",
        help="seconds for a request to arrive, and for its answer (default 30)",
    )
    p.add_argument("--address", help="Ray cluster to run on: auto or HOST:PORT (default: start Ray here)")
    p.add_argument(
        "--metrics_port",
        type=whole_number(1, 65535),
        metavar="N",
        help="port of Ray's Prometheus metrics on this machine (default: one that is free; it is printed)",
    )
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.cluster import import_ray
    from paddle_rtseg.serve.settings import check_free, check_models, read_settings, require

    settings = read_settings(args)
    if args.address is None:
        check_free(args.host, args.port)
        check_models(settings.models)  # other nodes may see other folders
    import_ray(alone=args.address is None)  # before anything else imports it
    require()
    from paddle_rtseg.serve.service import serve

    serve(args, settings)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
