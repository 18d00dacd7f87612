"""The server of the studio: one for a folder of runs, at an address of this machine alone."""

import json
import os
import secrets
import sys
import threading
import webbrowser
from contextlib import closing
from pathlib import Path

from lenext.exporting.extras import STUDIO, require
from lenext.foundation.errors import RunError
from lenext.foundation.files import expand_path, make_folder, read_regular
from lenext.foundation.locks import lock_file
from lenext.foundation.streams import write_out
from lenext.web.listening import listen

ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8127
LOCK, NOTE = ".studio.lock", ".studio.json"  # in the folder of the runs
MAX_NOTE_BYTES = 1 << 16


def serve(
    runs_dir: Path,
    *,
    port: int | None = None,
    browser: bool = True,
    data_dir: Path | None = None,
    offline: bool = False,
) -> None:
    """Serve the studio until Ctrl-C.

    Args:
        runs_dir: The folder of the runs; it is made.
        port: Of the address; None for the usual one, or a free one where that is taken.
        browser: Whether the page is opened in a browser.
        data_dir: Where published data are.
        offline: Whether the network must not be used.

    Raises:
        ConfigurationError: The extra is not installed, or the port is taken.
        RunError: A studio of the folder is open already.
    """
    for package in STUDIO:
        require(package, "studio", "studio")
    from lenext.studio.application import make_application
    from lenext.studio.state import Studio
    from lenext.studio.web_server import Server

    listening = listen(ADDRESS, (DEFAULT_PORT, 0) if port is None else (port,))
    folder = make_folder(expand_path(runs_dir)).resolve()
    with closing(listening), lock_file(folder / LOCK, folder) as is_ours:
        if not is_ours:
            raise RunError(
                f"{runs_dir}: a studio is open for this folder already{describe_address(folder)}; use it, or end it"
            )
        token, used = secrets.token_urlsafe(32), listening.getsockname()[1]
        address = f"http://{ADDRESS}:{used}/?token={token}"
        write_note(folder / NOTE, address)
        studio = Studio(folder, data_dir, offline)
        application = make_application(studio, token, f"lenext-studio-{used}")
        write_out(f"studio of {folder}\n{address}\nCtrl-C ends it; trainings that it has started go on\n")
        sys.stdout.flush()
        threading.Thread(target=studio.table.rows, daemon=True).start()  # read before the page asks
        if browser:
            page = Path(studio.commands.folder.name, "open.html")  # others may read the command line of a browser
            page.write_text(f'<meta http-equiv="refresh" content="0; url={address}">')
            threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
        try:
            Server(application, studio).run(sockets=[listening])
        finally:
            (folder / NOTE).unlink(missing_ok=True)
            studio.commands.close()
        for training in studio.commands.running("train"):
            write_out(
                f"{training.name} is still in training, in process {training.process.pid}; open a studio again to "
                "watch or stop it\n"
            )


def write_note(path: Path, address: str) -> None:
    """Write the address of the studio into a file that only its user can read."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        json.dump({"address": address}, file)


def describe_address(folder: Path) -> str:
    """Return where the studio of a folder is, in words; empty where it is not known."""
    try:
        return f", at {json.loads(read_regular(folder / NOTE, MAX_NOTE_BYTES))['address']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
