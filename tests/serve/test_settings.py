"""What the command line may ask for: names of models, tokens, addresses."""

import os
import socket

import pytest
from processes import python

from paddle_rtseg.errors import InputError
from paddle_rtseg.serve import settings
from paddle_rtseg.tools.serve import parser


def read(*flags):
    return settings.read_settings(parser().parse_args(["--model", "/models/streets", *flags]))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(settings.TOKEN, raising=False)
    return tmp_path


def test_names_of_models(folder):
    (folder / "a=b").mkdir()
    assert settings.named_models(["/models/streets/", "other=/models/streets", "rtformer_slim_camvid"]) == {
        "streets": "/models/streets",
        "other": "/models/streets",
        "rtformer_slim_camvid": "rtformer_slim_camvid",
    }
    assert settings.named_models(["model", "m=rtformer_slim_camvid"]) == {
        "model": str(folder / "model"),
        "m": "rtformer_slim_camvid",
    }
    assert settings.named_models(["x=a=b"]) == {"x": str(folder / "a=b")}


@pytest.mark.parametrize("words", [["a", "b/a"], ["x=a", "x=b"], ["front"], ["a b"], ["größe"], ["/"], ["."], ["a=b"]])
def test_names_that_are_refused(words, folder):
    (folder / "a=b").mkdir()
    with pytest.raises(InputError, match="give --model NAME=D"):
        settings.named_models(["/models/.hidden"] if words == ["."] else words)


def test_models_that_are_not_there(folder):
    settings.check_models({"a": "rtformer_slim_camvid"})
    with pytest.raises(InputError, match=r"models/streets"):
        settings.check_models(settings.named_models(["rtformer_slim_camvid", "/models/streets"]))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "service.example", ""])
def test_token_is_required_where_others_can_connect(host, folder, monkeypatch):
    with pytest.raises(InputError, match=f"expected a token with --host {host}.*; set RTSEG_SERVE_TOKEN"):
        read("--host", host)
    monkeypatch.setenv(settings.TOKEN, "0123456789abcdef")
    assert read("--host", host).token == "0123456789abcdef"
    (folder / "token").write_text("fedcba9876543210\n")
    assert read("--host", host, "--token_file", "token").token == "fedcba9876543210"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_no_token_on_loopback(host):
    assert read("--host", host).token is None


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "größer als sechzehn", "x" * 1001])
def test_tokens_that_are_refused(token, folder, monkeypatch):
    monkeypatch.setenv(settings.TOKEN, token)
    with pytest.raises(InputError, match=r"expected a token of 16 or more .*openssl rand"):
        read()
    (folder / "token").write_text(token)
    with pytest.raises(InputError, match="in 'token', got") as raised:
        read("--token_file", "token")
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize("name", ["none", ".", "pipe", "x" * 10_000])
def test_token_files_that_are_refused(name, folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="expected a file with the token, got ") as raised:
        read("--token_file", name)
    assert len(str(raised.value)) < 300


def test_address_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1 port .*in use.*; choose another --port"):
            settings.check_free("127.0.0.1", other.getsockname()[1])
    with pytest.raises(InputError, match=r"cannot listen on no\.host\.example port"):
        settings.check_free("no.host.example", 80)
    with pytest.raises(InputError, match="cannot listen on"):
        settings.check_free("x" * 300, 80)


@pytest.mark.slow
def test_missing_ray_is_a_sentence(folder):
    (folder / "ray").mkdir()
    (folder / "ray" / "__init__.py").write_text("raise ImportError('no ray here')")
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = python("-m", "paddle_rtseg.serve", "--model", "rtformer_slim_camvid", "--port", "1234", PYTHONPATH=paths)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: expected the package") and "no ray here" in done.stderr
    assert done.stderr.endswith('pip install "paddle_rtseg[ray]"\n') and done.stderr.count("\n") == 1
