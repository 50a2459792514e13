"""The service without Ray: its HTTP side with predictors in this process, on a port of loopback."""

import asyncio
import contextlib
import socket
import threading

import uvicorn
from rtseg_inference import Predictor
from rtseg_inference.images import decode_image

from paddle_rtseg.errors import InputError
from paddle_rtseg.serve.api import BODY, Answer, Limits, make_app
from paddle_rtseg.serve.replica import encoded, segment_all
from paddle_rtseg.serve.service import describe


class Local:
    """An engine with predictors in this process."""

    def __init__(self, **folders):
        self.predictors = {name: Predictor(folder) for name, folder in folders.items()}
        self.models = {name: describe(predictor) for name, predictor in self.predictors.items()}
        self.asked = 0

    async def segment(self, name, data, form):
        self.asked += 1
        return await asyncio.get_running_loop().run_in_executor(None, self._segment, name, data, form)

    def _segment(self, name, data, form):
        outcome = segment_all(self.predictors[name], [decode_image(data, BODY)])[0]
        if isinstance(outcome, str):
            raise InputError(outcome)
        result, milliseconds = outcome
        return Answer(encoded(result, form, name), form, milliseconds)

    async def obstacle(self):
        return None


@contextlib.contextmanager
def running(engine, **limits):
    """The address of a service with this engine."""
    app = make_app(engine, Limits(**{"body": 1 << 25, "seconds": 60, **limits}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
