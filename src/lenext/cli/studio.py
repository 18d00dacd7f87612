"""`lenext studio`: the web application of this machine."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lenext.cli.app import INTEGER, DataDir, Offline, RunsDir, app
from lenext.foundation.errors import ConfigurationError

MAX_PORT = 65_535


@app.command
def studio(
    *,
    runs_dir: RunsDir = Path("runs"),
    port: Annotated[int | None, INTEGER, Parameter(help="Port of the address (default: 8127, or a free one).")] = None,
    browser: Annotated[bool, Parameter(help="Open the page in a browser.")] = True,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Serve a page on this machine: runs with live curves, trainings from a form, data, audits, a drawing pad."""
    if port is not None and not 0 <= port <= MAX_PORT:
        raise ConfigurationError(f"port={port}: it must be from 0 (a free one) to {MAX_PORT}")
    from lenext.studio.server import serve

    serve(runs_dir, port=port, browser=browser, data_dir=data_dir, offline=offline)
