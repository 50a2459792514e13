"""The service on Ray Serve, started once: its answers, a full queue, a killed replica, and the end."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference import Predictor, cli

pytest.importorskip("ray", reason="the extra ray is not installed")

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-service"
MODEL = f"tiny{os.getpid()}"
SECONDS = 240  # for what takes ten on an idle machine
FULL_QUEUE_FLAGS = ["--batch_size", "2", "--queue", "2", "--batch_wait", "20"]


class Service:
    """A running service; requests to it carry the token."""

    def __init__(self, process, port, output):
        self.process, self.url, self.output = process, f"http://127.0.0.1:{port}", output

    def get(self, path):
        return self.ask(urllib.request.Request(self.url + path))

    def segment(self, data, accept="image/png"):
        headers = {"Content-Type": "image/jpeg", "Accept": accept}
        return self.ask(urllib.request.Request(f"{self.url}/v1/models/{MODEL}:segment", data, headers))

    def ask(self, request):
        """(status, content, headers)"""
        request.add_header("Authorization", f"Bearer {TOKEN}")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as e:
            return e.code, e.read(), e.headers

    def replica(self):
        """The process of the model's replica."""
        return next(pid for pid, title in titles() if title.startswith(f"ray::ServeReplica:paddle_rtseg:{MODEL}"))

    def wait_until_ready(self):
        deadline = time.monotonic() + SECONDS
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.2)


def titles():
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_text().replace("\0", " ")
        except OSError:
            continue


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    port = free_port()
    output = tmp_path_factory.mktemp("service") / "output"
    with open(output, "w") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "paddle_rtseg.serve", "--model", f"{MODEL}={exported['logits']}"),
                *("--port", str(port), "--threads", "1", "--backend", "native", *FULL_QUEUE_FLAGS),
            ],
            env={**os.environ, "RTSEG_SERVE_TOKEN": TOKEN},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while "serving " not in output.read_text():
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield Service(process, port, output)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def photos(frame):
    return [cv2.imencode(".png", np.roll(frame[:96, :128], 7 * k, axis=1))[1].tobytes() for k in range(4)]


def test_same_bytes_as_infer(service, exported, photos, tmp_path):
    (tmp_path / "a.png").write_bytes(photos[0])
    flags = ["--model", exported["logits"], "--input", str(tmp_path / "a.png"), "--backend", "native"]
    assert cli.run([*flags, "--threads", "1", "--save_dir", str(tmp_path / "out")]) == 0
    for accept, name in (("image/png", "masks/a.png"), ("image/jpeg", "overlays/a.jpg")):
        status, content, headers = service.segment(photos[0], accept)
        assert (status, headers["content-type"]) == (200, accept)
        assert content == (tmp_path / "out" / name).read_bytes()
    details = json.loads(service.segment(photos[0], "application/json")[1])
    result = Predictor(exported["logits"], backend="native", threads=1).predict(str(tmp_path / "a.png"))
    drawn = np.full_like(result.mask, 255)
    for polygon in details["polygons"]:
        outlines = [np.array(points, np.int32)[:, None] for points in [polygon["outline"], *polygon["holes"]]]
        cv2.drawContours(drawn, outlines, -1, polygon["class_id"], cv2.FILLED)
    assert {key: details[key] for key in result.areas()} == result.areas()
    assert np.array_equal(drawn, result.mask)


def test_models_are_described(service, exported):
    status, content, _ = service.get("/v1/models")
    (model,) = json.loads(content)["models"]
    assert (status, model["name"], model["runs_on"], model["threads"]) == (200, MODEL, "cpu native fp32", 1)
    assert len(model["classes"]) == 7 and {"id", "name", "color"} == set(model["classes"][0])


def test_ray_listens_on_loopback(service):
    """Except the ports of Ray Serve's replicas, which require Ray's token."""
    if shutil.which("ss") is None:
        pytest.skip("ss, which lists ports, is not installed")
    exposed = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    mine = [pid for pid, title in titles() if "ray::ServeReplica" not in title and of_session(pid, service.process.pid)]
    for line in exposed:
        if any(f"pid={pid}," in line for pid in mine):
            assert line.split()[3].startswith(("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:")), line


def of_session(pid, parent):
    """Whether a process descends from another."""
    while pid > 1:
        if pid == parent:
            return True
        try:
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def test_broken_images_among_good_ones(service, exported, photos):
    service.wait_until_ready()
    predictor = Predictor(exported["logits"], backend="native", threads=1)
    expected = [predictor.predict(cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR)).mask for p in photos]
    sent = [(k, photos[k % 4] if k % 5 else photos[k % 4][:200]) for k in range(20)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda entry: service.segment(entry[1]), sent))
    for (k, _), (status, content, _) in zip_strict(sent, answers):
        assert status == (200 if k % 5 else 422), content
        if k % 5:
            mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(mask, expected[k % 4])


def test_full_queue_is_said_at_once(service, photos):
    """While the replica is stopped, a few images wait, and the others are refused; all that wait are answered."""
    service.wait_until_ready()
    replica = service.replica()
    os.kill(replica, signal.SIGSTOP)
    answered = []
    try:
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(service.segment, photos[k % 4]) for k in range(16)]
            for one in asked:
                one.add_done_callback(lambda done: answered.append(done.result()[0]))
            deadline = time.monotonic() + 20
            while len(answered) < 16 - 2 * 2 - 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            while_stopped = list(answered)
            os.kill(replica, signal.SIGCONT)
    finally:
        os.kill(replica, signal.SIGCONT)
    assert len(while_stopped) >= 10 and set(while_stopped) == {429}
    assert answered.count(200) >= 1 and set(answered) == {200, 429}


def test_killed_replica_is_replaced(service, photos):
    service.wait_until_ready()
    os.kill(service.replica(), signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    statuses = set()
    while 200 not in statuses:
        assert time.monotonic() < deadline
        statuses.add(service.segment(photos[0])[0])
        time.sleep(0.2)
    assert statuses <= {200, 429, 503, 504}
    service.wait_until_ready()


def test_half_requests_and_a_huge_image(service, photos):
    """Neither those that stop nor those that go away harm others."""
    host, port = service.url.rpartition("/")[2].split(":")
    head = f"POST /v1/models/{MODEL}:segment HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    halves = []
    for text in ("GET / HT", head, head + "Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nx"):
        halves.append(socket.create_connection((host, int(port))))
        halves[-1].sendall(text.encode())
    size = (30_000).to_bytes(4, "big")
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + size + b"\x08\x02\0\0\0" + bytes(8) + b"IEND" + bytes(4)
    status, content, _ = service.segment(huge)
    assert status == 413 and "got 30000 x 30000" in json.loads(content)["error"]
    service.wait_until_ready()
    assert service.segment(photos[0])[0] == 200
    for half in halves:
        half.close()
    assert service.segment(photos[0])[0] == 200


def test_the_end_waits_for_what_has_begun(service, photos):
    """The last test: it ends the service."""
    service.wait_until_ready()
    replica = service.replica()
    os.kill(replica, signal.SIGSTOP)
    last = []
    asking = threading.Thread(target=lambda: last.append(service.segment(photos[0])[0]))
    asking.start()
    time.sleep(1)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    os.kill(replica, signal.SIGCONT)
    asking.join(60)
    assert last == [200]
    assert service.process.wait(120) == 0
    assert service.output.read_text().endswith("\nfinishing what has begun\n")
    assert not [title for _, title in titles() if MODEL in title]
