"""A worker of a service: a process with its own models, which answers requests of the socket that all workers share."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

import uvicorn

from lenext.foundation.errors import LenextError, is_out_of_memory
from lenext.serving.metrics import Metrics
from lenext.serving.settings import DRAIN_SECONDS, EXIT_SECONDS, ServiceSettings, Source

SWITCH_SECONDS = 0.0005  # between the threads of Python; by default the event loop would wait 5 ms for the engine's
BEAT_SECONDS = 1.0
PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.0005, 0.005  # for each connection, before another one is taken
REST_SECONDS = 0.1  # after one that could not be taken


def run_worker(
    settings: ServiceSettings, sources: Mapping[str, Source], listening: socket.socket, pipe: Connection
) -> None:
    """Open the models, answer requests until told to end, and report to the supervisor.

    Args:
        settings: Of the service.
        sources: Copies of the models' files, by name.
        listening: The socket that all workers share.
        pipe: To the supervisor: its orders, and what becomes of them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the supervisor gives the orders
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    sys.setswitchinterval(SWITCH_SECONDS)
    warnings.simplefilter("ignore")  # of decoders, about what clients send
    try:
        metrics = Metrics(settings.metrics_dir)
        from lenext.acceleration.threads import set_thread_count
        from lenext.serving.models import open_model

        set_thread_count(settings.threads)
        models = {name: open_model(source, settings) for name, source in sources.items()}
    except Exception as error:
        report(pipe, "failed", describe(error), getattr(error, "exit_code", 1))
        return
    gc.collect()
    gc.freeze()  # what is loaded stays
    asyncio.run(Worker(settings, models, metrics, listening, pipe).run())


def describe(error: Exception) -> str:
    """Return an error in a line; one that is lenext's own is printed in full first."""
    if not isinstance(error, LenextError):
        traceback.print_exception(error)
        return "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}"
    return str(error)


def report(pipe: Connection, *message: Any) -> None:
    """Tell the supervisor something, if it is still there."""
    with suppress(OSError, ValueError):
        pipe.send(message)


class Server(uvicorn.Server):
    """uvicorn, which leaves the signals to the worker, and shares the connections with other workers.

    All workers wait at one socket, and the first that wakes would take all that wait there. So a worker takes one
    connection at a time, and pauses the longer, the more it has.
    """

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = []
        assert sockets
        listening = sockets[0]
        listening.setblocking(False)
        self.accepting = asyncio.create_task(self.accept(listening))
        self.started = True

    async def accept(self, listening: socket.socket) -> None:
        """Take connections until the server ends."""
        loop, config = asyncio.get_running_loop(), self.config

        def create_protocol() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # too many open files, or a client that has gone already
                await asyncio.sleep(REST_SECONDS)
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(create_protocol, connection)
            await asyncio.sleep(min(MAX_PAUSE_SECONDS, PAUSE_SECONDS * len(self.server_state.connections)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.accepting.cancel()
        await super().shutdown(sockets)


class Worker:
    """The event loop of a worker."""

    def __init__(
        self,
        settings: ServiceSettings,
        models: Mapping[str, Any],
        metrics: Metrics,
        listening: socket.socket,
        pipe: Connection,
    ) -> None:
        self.settings, self.models, self.metrics = settings, dict(models), metrics
        self.listening, self.pipe = listening, pipe
        self.candidates: dict[str, Any] = {}

    async def run(self) -> None:
        """Answer requests until told to end."""
        from lenext.serving.application import Service
        from lenext.serving.protocol import Protocol

        self.loop = asyncio.get_running_loop()
        self.service = Service(self.settings, self.models, self.metrics)
        Protocol.count_malformed = staticmethod(lambda: self.metrics.count_request("malformed", 400, 0.0))
        self.server = Server(
            uvicorn.Config(
                self.service, http=Protocol, ws="none", loop="asyncio", lifespan="off", log_config=None,
                access_log=False, server_header=False, proxy_headers=False,
                timeout_keep_alive=60, timeout_graceful_shutdown=int(EXIT_SECONDS),
            )
        )  # fmt: skip
        if hasattr(signal, "SIGTERM") and os.name != "nt":
            self.loop.add_signal_handler(signal.SIGTERM, self.drain, DRAIN_SECONDS)
        threading.Thread(target=self.take_orders, daemon=True).start()
        tasks = [asyncio.create_task(each) for each in (self.beat(), self.service.watch_clients())]
        for model in self.models.values():
            await self.service.batcher.warm(model)
        self.metrics.workers.set(1)
        report(self.pipe, "ready", {name: [each.version, each.predictor.engine] for name, each in self.models.items()})
        await self.server.serve(sockets=[self.listening])
        for task in tasks:
            task.cancel()
        self.metrics.workers.set(0)
        self.service.batcher.close()

    def take_orders(self) -> None:
        """Take the orders of the supervisor, in a thread; when it is gone, end."""
        while True:
            try:
                order, *values = self.pipe.recv()
            except (EOFError, OSError):
                self.loop.call_soon_threadsafe(self.drain, 0.0)
                return
            if order == "drain":
                self.loop.call_soon_threadsafe(self.drain, *values)
            elif order == "prepare":
                threading.Thread(target=self.prepare, args=values, daemon=True).start()  # other orders may come
            elif order == "commit":
                self.loop.call_soon_threadsafe(self.commit, *values)
            elif order == "discard":
                self.candidates = {}

    def prepare(self, number: int, sources: Mapping[str, Source]) -> None:
        """Open and verify new models beside those that answer; the number is that of the order."""
        from lenext.serving.models import open_model

        try:
            self.candidates = {name: open_model(source, self.settings) for name, source in sources.items()}
        except Exception as error:
            self.candidates = {}
            report(self.pipe, "refused", number, describe(error))
        else:
            report(self.pipe, "prepared", number)

    def commit(self, number: int) -> None:
        """Let the new models answer; requests that are under way end with the old ones."""
        self.service.models = self.service.models | self.candidates
        self.candidates = {}
        versions = {name: each.version for name, each in self.service.models.items()}
        report(self.pipe, "committed", number, versions)
        self.loop.call_later(1.0, gc.collect)

    def drain(self, seconds: float) -> None:
        """End: not ready at once, but answering for some seconds, so that those who look notice first."""
        if self.service.is_ready:
            self.service.is_ready = False
            self.loop.call_later(seconds, self.stop)
        elif not seconds:
            self.stop()

    def stop(self) -> None:
        self.server.should_exit = True

    async def beat(self) -> None:
        """Tell the supervisor every second that the loop turns and the engine does not hang; close idle connections."""
        from lenext.serving.protocol import close_idle

        while True:
            batcher = self.service.batcher
            busy = time.monotonic() - batcher.busy_since if batcher.busy_since is not None else 0.0
            self.metrics.waiting.set(batcher.images)
            report(self.pipe, "beat", busy)
            close_idle(self.server.server_state.connections)
            await asyncio.sleep(BEAT_SECONDS)
