"""The processes of a training: how one of them meets the others, and what all must have in common.

Whoever starts them, torchrun or `--processes`, says in the environment how many there are and where they meet.
"""

import hashlib
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from lenext.foundation.errors import ConfigurationError, LostProcessError, RunError, ToldElsewhereError
from lenext.foundation.files import expand_path, sha256
from lenext.foundation.group import Group
from lenext.foundation.heartbeat import Heartbeat, Member
from lenext.foundation.streams import write_error
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run
from lenext.training.state import TrainingState
from lenext.workflows.fingerprint import MAY_CHANGE, combine_fingerprints, flat_keys, training_identity
from lenext.workflows.job import Job
from lenext.workflows.launch import BEGAN_VARIABLE, LAUNCH_VARIABLE, LAUNCHER_VARIABLE, STORE_VARIABLE
from lenext.workflows.machine import versions

TIMEOUT = timedelta(minutes=30)  # of an exchange: longer than the first process takes to save; a heartbeat is faster
START_TIMEOUT = timedelta(minutes=5)  # for all processes to meet
LOCAL = "127.0.0.1"
NOWHERE: tuple[int, str] | None = None


@contextmanager
def open_group() -> Iterator[Group]:
    """Join the processes that the environment names, for the length of a block; this one alone if it names none.

    Raises:
        ConfigurationError: The environment is not complete, or the meeting point cannot be used.
        LostProcessError: The other processes did not come.
    """
    group = group_of_environment(os.environ)
    if group.size == 1:
        yield group
        return
    follow_launcher()
    choose_gpu(group)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store = PrefixStore(f"lenext-{group.attempt}", meeting_point(group))  # an earlier attempt left addresses
        dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.size, timeout=TIMEOUT)
    except (RuntimeError, OSError) as error:
        if "address already in use" in str(error).lower() or "EADDRINUSE" in str(error):
            port = os.environ.get("MASTER_PORT")
            raise ConfigurationError(f"MASTER_PORT={port}: the port is in use; give another one") from error
        reason = " ".join(str(error).split())[:200]
        raise LostProcessError(f"the {group.size} processes did not meet ({reason})") from error
    try:
        yield group
    except LostProcessError as error:
        if LAUNCHER_VARIABLE in os.environ:  # the launcher says it
            raise ToldElsewhereError(error.exit_code) from error
        raise
    finally:
        dist.destroy_process_group()


def group_of_environment(environment: Mapping[str, str]) -> Group:
    """Return the group that torchrun's variables describe. Raises ConfigurationError."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    try:
        rank, size, local_size, attempt = (
            int(environment.get(name, default)) for name, default in zip(names, ("0", "1", "1", "0"), strict=True)
        )
    except ValueError as error:
        raise ConfigurationError(f"the environment variables {', '.join(names)} must be whole numbers") from error
    if not 0 <= rank < size:
        raise ConfigurationError(f"RANK={rank}, WORLD_SIZE={size}: the rank must be from 0 to {size - 1}")
    return Group(rank, size, max(1, local_size), socket.gethostname(), attempt, launch_name(environment))


def launch_name(environment: Mapping[str, str]) -> str:
    """Return what names the launch of these processes, also after they were started again."""
    if name := environment.get(LAUNCH_VARIABLE):
        return name
    if "TORCHELASTIC_RUN_ID" not in environment:
        return ""
    parent = psutil.Process(os.getppid())  # the agent, which starts the processes again
    return f"{environment['TORCHELASTIC_RUN_ID']}-{socket.gethostname()}-{parent.pid}-{parent.create_time():.0f}"


def meeting_point(group: Group) -> Store:
    """Return where the processes exchange their addresses: a file on one machine, else a port of the first."""
    if path := os.environ.get(STORE_VARIABLE):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback())
        return FileStore(path, group.size)
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not address or not port.isdecimal():
        raise ConfigurationError("MASTER_ADDR and MASTER_PORT must say where the processes meet; start with torchrun")
    is_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(address, int(port), group.size, group.is_first and not is_agent, timeout=START_TIMEOUT)


@cache
def loopback() -> str:
    """Return the name of the interface that leads to this machine itself."""
    interfaces = psutil.net_if_addrs().items()
    return next((name for name, some in interfaces if any(one.address == "127.0.0.1" for one in some)), "lo")


def choose_gpu(group: Group) -> None:
    """Give each process of a machine a separate GPU, if it has any."""
    count = torch.cuda.device_count()
    if count and group.local_size <= count:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def follow_launcher() -> None:
    """End this process when its launcher has ended, even if that was killed."""
    if not (number := os.environ.get(LAUNCHER_VARIABLE)):
        return

    def wait() -> None:
        with suppress(OSError):
            os.read(int(number), 1)  # nothing is ever written there
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="launcher", daemon=True).start()


@contextmanager
def beating(group: Group) -> Iterator[None]:
    """Notice, for the length of a block, a process that is stopped, hangs or cannot be reached: this one then ends."""
    if group.size == 1:
        yield
        return
    is_local = STORE_VARIABLE in os.environ
    members = group.gather(Member.present(group.rank, group.host))
    heartbeat = Heartbeat(members, group.rank, end_for_loss)
    try:
        if group.is_first:
            listener, secret = Heartbeat.listen(LOCAL if is_local else "")
            group.share((listener.getsockname()[1], secret))
            heartbeat.accept(listener, secret)
        else:
            heartbeat.connect(LOCAL if is_local else os.environ["MASTER_ADDR"], *group.share(NOWHERE))
    except OSError as error:
        raise LostProcessError(f"the processes did not hear each other ({error})") from error
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()


@cache
def note_beginning() -> None:
    """Tell the launcher that the first step is done, once."""
    if path := os.environ.get(BEGAN_VARIABLE):
        with suppress(OSError):
            Path(path).touch()


def end_for_loss(how: str) -> None:
    """End this process at once, as its main thread waits for one that is lost."""
    if LAUNCHER_VARIABLE not in os.environ:  # else the launcher says it
        write_error(f"lenext: {how}; `lenext resume` continues from the newest checkpoint")
    sys.stdout.flush()
    os._exit(LostProcessError.exit_code)


def find_started(runs_dir: Path, group: Group) -> Run | None:
    """Return the run that an earlier attempt of this launch has begun; None if it had made none yet."""

    def find() -> Run | None:
        for folder in runs_dir.glob("*") if group.launch else ():
            run = Run(folder)
            with suppress(RunError):
                if run.environment.get("launch") == group.launch:
                    return run
        return None

    run = find() if group.is_first else None
    if run and not (run.path / "recipe.yaml").is_file():
        shutil.rmtree(run.path)  # the attempt was lost before it was a run
        run = None
    return group.share(run)


def check_same(group: Group, job: Job) -> None:
    """Check that all processes train the same, by the same code, on the same samples."""
    if group.size > 1:
        group.check_same(facts(job))


def facts(job: Job) -> dict[str, Any]:
    """Return what all processes must have in common."""
    keys = flat_keys(training_identity(job.experiment, job.description, "")["experiment"])
    machine, network = job.settings.machine, job.experiment.network
    code = {"the network's file": network.rpartition(":")[0]} if is_user_network(network) else {}
    return {
        **versions(),
        "lenext's code": code_fingerprint(),
        "device": machine.compute.device.type,
        "precision": machine.compute.precision,
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "memory format": str(machine.compute.memory_format),
        "threads": torch.get_num_threads(),
        "samples": combine_fingerprints(job.fingerprints)[:16],
        **{name: sha256(expand_path(file))[:16] for name, file in code.items()},
        **{key: value for key, value in keys.items() if key not in MAY_CHANGE or key == "epochs"},
    }


@cache
def code_fingerprint() -> str:
    """Return a SHA-256 of lenext's own code, in short."""
    digest = hashlib.sha256()
    root = Path(str(files("lenext")))
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def share_state(group: Group, state: TrainingState) -> None:
    """Give all processes the state of the first one."""
    if group.size == 1:
        return
    snapshot = group.share(state.snapshot() if group.is_first else None)
    if not group.is_first:
        state.restore(snapshot)
