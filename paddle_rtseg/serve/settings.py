"""What the command line asks of the service, checked before Ray is imported."""

import argparse
import ipaddress
import os
import re
import socket
from typing import Dict, Mapping, NamedTuple, Optional, Sequence

from rtseg_inference.contract import read_contract
from rtseg_inference.errors import NotInstalled, quote

from ..errors import InputError
from ..weights import released

TOKEN = "RTSEG_SERVE_TOKEN"
LEAST_TOKEN = 16  #: characters
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FRONT = "front"  #: name of the HTTP side's deployment, which no model may have
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class Settings(NamedTuple):
    """What has been checked."""

    models: Dict[str, str]  #: folders or bundled names, by the names that requests use
    token: Optional[str]


def read_settings(args: argparse.Namespace) -> Settings:
    """The models and the token that the flags and the environment name.

    Raises:
        InputError: they cannot be used, or a token is missing on an address that other machines can reach.
    """
    models, token = named_models(args.model), read_token(args.token_file)
    check_host(args.host, token)
    return Settings(models, token)


def require() -> None:
    """Raise :class:`.NotInstalled` unless Ray Serve and FastAPI are there."""
    try:
        import fastapi  # noqa: F401
        import ray.serve  # noqa: F401
    except ImportError as e:
        raise NotInstalled(
            f'expected the packages of Ray Serve, got {quote(e)}; pip install "paddle_rtseg[ray]"'
        ) from e


def check_models(models: Mapping[str, str]) -> None:
    """Raise :class:`.InputError` unless every model is the folder of an exported one, or bundled."""
    for model in models.values():
        if model not in released.SHA256:
            read_contract(model)


def named_models(words: Sequence[str]) -> Dict[str, str]:
    """The folders or bundled names that ``--model`` lists, by the names that requests use."""
    found: Dict[str, str] = {}
    for word in words:
        match = None if os.path.exists(word) else re.fullmatch(f"({_NAME})=(.+)", word, re.DOTALL)
        name, model = match.groups() if match else (os.path.basename(os.path.abspath(word)), word)
        if not re.fullmatch(_NAME, name):
            raise InputError(
                f"expected a model named by letters, digits, '.', '_' and '-', got {quote(name)!r}; give --model NAME=D"
            )
        if name in found or name == FRONT:
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
        source = repr(quote(file))
        if not os.path.isfile(file):  # opening a pipe would wait
            raise InputError(f"expected a file with the token, got {quote(file)!r}; check --token_file")
        try:
            with open(file, "rb") as f:
                token = f.read(1 << 16).decode("latin-1").strip()
        except OSError as e:
            raise InputError(f"cannot read the token file {quote(file)!r} ({e.strerror}); check --token_file") from e
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


def url(host: str, port: int) -> str:
    """The address of the page."""
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
