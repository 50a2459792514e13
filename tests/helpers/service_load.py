"""Load for the service, by Locust; it prints one line of what was answered.

    LOAD_MODEL=NAME LOAD_IMAGES=FOLDER locust -f tests/helpers/service_load.py --headless --users 200 --spawn-rate 50 \\
        --run-time 40s --host http://127.0.0.1:8000

``LOAD_BROKEN`` is the share of images that are cut, ``LOAD_SLOW`` that of clients that send a kilobyte each 50 ms. A
client that is refused waits for as long as Retry-After says.
"""

import collections
import os
import pathlib
import random
import socket
import time

import numpy as np
from locust import HttpUser, events, task

MODEL = os.environ.get("LOAD_MODEL", "rtformer_slim_camvid")
IMAGES = [path.read_bytes() for path in sorted(pathlib.Path(os.environ.get("LOAD_IMAGES", ".")).glob("*.jpg"))]
BROKEN, SLOW = (float(os.environ.get(f"LOAD_{name}", "0")) for name in ("BROKEN", "SLOW"))
PATH = f"/v1/models/{MODEL}:segment"

answers = collections.defaultdict(list)  # (kind, status) -> seconds
start = time.monotonic()


class Client(HttpUser):
    """Sends one image after the other."""

    def on_start(self):
        self.slow = random.random() < SLOW

    @task
    def segment(self):
        image, kind = random.choice(IMAGES), "slow" if self.slow else "good"
        if random.random() < BROKEN:
            image, kind = image[: len(image) // 2], "broken"
        begun = time.monotonic()
        status, wait = self.slowly(image) if self.slow else self.at_once(image)
        answers[kind, status].append(time.monotonic() - begun)
        time.sleep(wait)

    def at_once(self, image):
        headers = {"Content-Type": "image/jpeg"}
        with self.client.post(PATH, image, headers=headers, catch_response=True) as answer:
            answer.success()
            return answer.status_code, float(answer.headers.get("Retry-After", 0))

    def slowly(self, image):
        host, port = self.host.rpartition("/")[2].split(":")
        try:
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
                connection.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode())
                for at in range(0, len(image), 1024):
                    connection.sendall(image[at : at + 1024])
                    time.sleep(0.05)
                return int(connection.makefile("rb").readline().split()[1]), 0.0
        except (OSError, IndexError):
            return 0, 1.0


@events.test_stop.add_listener
def report(**_):
    seconds = time.monotonic() - start
    for (kind, status), times in sorted(answers.items()):
        p50, p99 = np.percentile(times, (50, 99))
        print(
            f"{kind:6} {status}: {len(times):6} answers, {len(times) / seconds:6.2f} per second, "
            f"p50 {1e3 * p50:7.0f} ms, p99 {1e3 * p99:7.0f} ms"
        )
