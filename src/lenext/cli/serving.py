"""`lenext serve`: a prediction service."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import INTEGER, DataDir, Offline, StoredWeights, UserNetwork, app
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import expand_path, read_regular
from lenext.foundation.settings import Device

MAX_PORT, MAX_WORKERS, MAX_QUEUE = 65_535, 256, 1_000_000
MAX_KEY_BYTES, MAX_NAME_CHARACTERS = 4096, 100
KEY_VARIABLE = "LENEXT_API_KEY"


@app.command
def serve(
    run: Annotated[
        str, Parameter(help="Folder of a run, a weights file, an exported file, or a network name with --pretrained.")
    ] = "",
    /,
    *,
    model: Annotated[
        list[str] | None,
        Parameter(help="A further model, NAME=RUN; repeatable. The first is the default.", negative=""),
    ] = None,
    host: Annotated[str, Parameter(help="Address to listen at; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, INTEGER, Parameter(help="Port of the address; 0 for a free one.")] = 8000,
    workers: Annotated[
        int | None, INTEGER, Parameter(help="Processes (default: one, or two where there are more cores).")
    ] = None,
    engine: Annotated[
        Literal["auto", "torch", "onnxruntime", "openvino"],
        Parameter(help="What computes, in fp32; auto: the fastest by what was measured."),
    ] = "auto",
    queue: Annotated[int, INTEGER, Parameter(help="Images of a worker that may wait; more are answered 503.")] = 256,
    api_key_file: Annotated[
        Path | None, Parameter(help=f"File of the key that requests must carry (or ${KEY_VARIABLE}).")
    ] = None,
    origin: Annotated[
        list[str] | None, Parameter(help="Origin of another site whose pages may ask; repeatable.", negative="")
    ] = None,
    request_log: Annotated[
        str, Parameter(help="File of the request log, a line of JSON each; - prints it.", allow_leading_hyphen=True)
    ] = "",
    pretrained: Annotated[
        bool, Parameter(negative="", help="Serve the published weights of a network given by name.")
    ] = False,
    weights: StoredWeights = None,
    network: UserNetwork = "",
    device: Annotated[Device, Parameter(help="Device to compute on; auto: cuda, else mps, else cpu.")] = "auto",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Serve predictions over HTTP: /predict, the Open Inference Protocol, /docs, /metrics, and a page to try it.

    SIGHUP loads the models again, once they are verified. SIGTERM ends it without failing a request.
    """
    from lenext.serving.settings import ServiceSettings, Source

    for name, value, minimum, maximum in (("port", port, 0, MAX_PORT), ("queue", queue, 1, MAX_QUEUE)):
        if not minimum <= value <= maximum:
            raise ConfigurationError(f"{name}={value}: it must be from {minimum} to {maximum}")
    if workers is not None and not 1 <= workers <= MAX_WORKERS:
        raise ConfigurationError(f"workers={workers}: it must be from 1 to {MAX_WORKERS}")
    common = {
        "weights": weights, "network": network, "pretrained": pretrained,
        "data_dir": str(data_dir) if data_dir else None, "offline": offline,
    }  # fmt: skip
    named = ([(default_name(run, pretrained), run)] if run else []) + [parse_model(text) for text in model or ()]
    if not named:
        raise ConfigurationError("serve: name what to serve: a run, a file, or --model NAME=RUN")
    for name in (names := [name for name, _ in named]):
        if names.count(name) > 1:
            raise ConfigurationError(f"model {name}: it is given twice; give other names with --model NAME=RUN")
    for each in origin or ():
        if each != "*" and not each.startswith(("http://", "https://")):
            raise ConfigurationError(f"origin={each}: give the start of an address, such as https://example.org")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = workers or min(2, cores)
    settings = ServiceSettings(
        host=host, port=port, workers=count, threads=max(1, cores // count), engine=engine, device=device, queue=queue,
        api_key=read_key(api_key_file), origins=tuple(each.rstrip("/") for each in origin or ()),
        request_log=request_log,
    )  # fmt: skip
    from lenext.serving.supervisor import Supervisor

    Supervisor(settings, [Source(name, path, **common) for name, path in named]).serve()  # type: ignore[arg-type]


def default_name(run: str, pretrained: bool) -> str:
    """Return the name of a model that was given none: that of its folder, file or network."""
    if pretrained:
        return run
    path = expand_path(run).resolve()
    name = path.name if path.is_dir() else path.stem
    if not is_name(name):
        raise ConfigurationError(f"{run}: no name for a model; give one with --model NAME=RUN")
    return name


def is_name(name: str) -> bool:
    """Return whether a name can be part of an address."""
    return name.isprintable() and 0 < len(name) <= MAX_NAME_CHARACTERS and not set(name) & set("/?#%")


def parse_model(text: str) -> tuple[str, str]:
    """Return the name and the source of NAME=RUN."""
    name, equals, path = text.partition("=")
    if not equals or not path or not is_name(name):
        raise ConfigurationError(f"--model {text}: give NAME=RUN, the name without slashes")
    return name, path


def read_key(path: Path | None) -> str:
    """Return the API key; empty for none. It is never an option, as others can read command lines."""
    if path is None and not os.environ.get(KEY_VARIABLE):
        return ""
    try:
        key = read_regular(expand_path(path), MAX_KEY_BYTES).decode().strip() if path else os.environ[KEY_VARIABLE]
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    path = path or Path(f"${KEY_VARIABLE}")
    if not key or not key.isprintable() or not key.isascii():
        raise ConfigurationError(f"{path}: a key is a line of printable ASCII characters")
    return key
