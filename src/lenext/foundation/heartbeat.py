"""The heartbeat of a group of processes: one that is stopped, hangs or cannot be reached any more is noticed.

An exchange of torch.distributed waits for hours for a process that is stopped, and a process that waits cannot be
interrupted. So a thread of each process says every second that it is alive: all to the first one, and it to all.
"""

import os
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

BEAT_SECONDS = 1.0
SILENCE_SECONDS = 10.0  # after which a process counts as lost
MEETING_SECONDS = 60.0  # for all to connect
ALIVE, GOODBYE = b".", b"!"


@dataclass(frozen=True)
class Member:
    """A process of the group: its rank, machine, number there, and when it began."""

    rank: int
    host: str
    pid: int
    begun: float

    @classmethod
    def present(cls, rank: int, host: str) -> "Member":
        """Return this process."""
        return cls(rank, host, os.getpid(), psutil.Process().create_time())

    def end_if_stopped(self, host: str) -> None:
        """Kill the process if it is on this machine and stopped; it would wait for its end for ever."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            is_same = self.host == host and abs(process.create_time() - self.begun) < 1
            if is_same and process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
                process.send_signal(signal.SIGKILL)


class Heartbeat:
    """A thread that says that this process is alive, and hears whether the others are."""

    def __init__(self, members: Sequence[Member], rank: int, on_loss: Callable[[str], None]) -> None:
        """Prepare it.

        Args:
            members: All processes of the group, by rank.
            rank: Of this process.
            on_loss: Called by the thread, with which process was lost and how. It has to end this process.
        """
        self.members, self.me, self.on_loss = members, members[rank], on_loss
        self.connections: dict[socket.socket, Member] = {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, name="heartbeat", daemon=True)

    @staticmethod
    def listen(address: str) -> tuple[socket.socket, str]:
        """Return a listening socket of the first process, and a secret that the others must know.

        Args:
            address: Where it listens; empty for every address, as a machine may not know by which others reach it.
        """
        if address:
            return socket.create_server((address, 0), backlog=1024), secrets.token_hex(16)
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        listener = socket.create_server(("", 0), family=family, backlog=1024, dualstack_ipv6=both)
        return listener, secrets.token_hex(16)

    def accept(self, listener: socket.socket, secret: str) -> None:
        """Wait in the first process until all the others have connected. Raises TimeoutError."""
        until = time.monotonic() + MEETING_SECONDS
        with listener:
            while len(self.connections) < len(self.members) - 1:
                listener.settimeout(max(0.01, until - time.monotonic()))
                connection, _ = listener.accept()
                connection.settimeout(5.0)
                with suppress(OSError, ValueError):
                    known, _, rank = connection.recv(64, socket.MSG_WAITALL).decode().strip().partition(" ")
                    if secrets.compare_digest(known, secret) and 0 < int(rank) < len(self.members):
                        self.connections[connection] = self.members[int(rank)]
                        continue
                connection.close()

    def connect(self, address: str, port: int, secret: str) -> None:
        """Connect to the first process. Raises OSError."""
        connection = socket.create_connection((address, port), MEETING_SECONDS)
        connection.sendall(f"{secret} {self.me.rank}".ljust(64).encode())
        self.connections[connection] = self.members[0]

    def start(self) -> None:
        """Begin to say and to hear."""
        for connection in self.connections:
            connection.setblocking(False)
        self.thread.start()

    def stop(self) -> None:
        """Say goodbye, and end."""
        self.ended.set()
        self.thread.join(BEAT_SECONDS + 1)
        for connection in self.connections:
            connection.close()

    def run(self) -> None:
        """Say and hear, until this process says goodbye or another one is lost."""
        heard = dict.fromkeys(self.connections, time.monotonic())
        closed: dict[socket.socket, float] = {}
        while not self.ended.is_set():
            self.say(ALIVE)
            until = time.monotonic() + BEAT_SECONDS
            while (left := until - time.monotonic()) > 0 and not self.ended.is_set():
                watched = [one for one in heard if one not in closed]
                if not watched:
                    self.ended.wait(left)
                    continue
                ready, _, _ = select.select(watched, [], [], min(left, 0.1))
                for connection in ready:
                    heard[connection] = time.monotonic()
                    said = receive(connection)
                    if said.endswith(GOODBYE):
                        del heard[connection]
                    elif not said:
                        closed[connection] = time.monotonic()
            if time.monotonic() > until + BEAT_SECONDS:  # this process was stopped, and perhaps the others
                heard = dict.fromkeys(heard, time.monotonic())
            self.look(heard, closed)
        self.say(GOODBYE)

    def look(self, heard: dict[socket.socket, float], closed: dict[socket.socket, float]) -> None:
        """Report a process that is silent, or has closed its connection without a goodbye.

        The main thread notices most ends at its next exchange; it gets the time to save a checkpoint.
        """
        now = time.monotonic()
        for connection, last in heard.items():
            if now - closed.get(connection, last) < SILENCE_SECONDS:
                continue
            member = self.connections[connection]
            for other in self.members:
                other.end_if_stopped(self.me.host)
            how = "has ended" if connection in closed else f"has been silent for {SILENCE_SECONDS:.0f} s"
            self.on_loss(f"process {member.rank} on {member.host} {how}")
            return

    def say(self, what: bytes) -> None:
        """Send to all that are connected; whoever cannot take it is noticed by its own silence."""
        for connection in self.connections:
            with suppress(OSError):
                connection.send(what)


def receive(connection: socket.socket) -> bytes:
    """Return what has come from a connection; empty when it is closed."""
    try:
        return connection.recv(4096)
    except BlockingIOError:
        return ALIVE
    except OSError:
        return b""
