"""The verbs of the command line: each parses, calls its workflow and prints. One file a kind of verb.

torch is imported only by the verbs that compute, once their options are known to be right.
"""

import io
import os
import sys
from contextlib import suppress
from importlib import import_module

from lenext.foundation.errors import LenextError, ToldElsewhereError, is_out_of_memory, unknown_name
from lenext.foundation.streams import plain_lines, write_error
from lenext.verbs import VERBS

SHELLS = ("bash", "zsh", "fish", "powershell")
LISTED = ("models", "datasets", "recipes", "runs")
SHOWN = (
    "data", "channels", "filters", "kernels", "features", "confusion", "classes", "reliability", "curves", "embedding",
    "field",
)  # fmt: skip
IN_PROCESSES = ("train", "resume")


def run(arguments: list[str]) -> int:
    """Parse and run; the user's mistakes become one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class may have a name that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    if arguments[0] == "--install-completion":
        return install_completion(arguments[1:])
    if arguments[0] not in VERBS and arguments[0] != "--version":
        return fail(unknown_name("verb", arguments[0], VERBS, "`lenext --help` lists them"))
    if arguments == ["list"]:
        return fail("list: name what to list: models, datasets, recipes or runs")
    if arguments == ["show"]:
        return fail(f"show: name what to show: {', '.join(SHOWN)}")
    from cyclopts import CycloptsError, UnknownCommandError

    from lenext.cli.app import app, invocation

    load_verbs(*(name for name in VERBS if name == arguments[0]))
    before, plain_lines.enabled = plain_lines.enabled, True
    invocation.arguments = arguments
    try:
        if arguments[0] not in IN_PROCESSES and os.environ.get("WORLD_SIZE", "1") != "1":
            return fail(f"{arguments[0]}: it runs in one process; torchrun starts lenext {' and '.join(IN_PROCESSES)}")
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except UnknownCommandError:
        names = LISTED if arguments[0] == "list" else SHOWN
        return fail(f"{arguments[0]}: {unknown_name(f'thing to {arguments[0]}', arguments[1], names)}")
    except CycloptsError as error:
        return fail(f"{error} (lenext {arguments[0]} --help lists the options)")
    except ToldElsewhereError as error:
        return error.exit_code
    except LenextError as error:
        return fail(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        resumption = "; the same command continues" if VERBS[arguments[0]].room == "comparing" else ""
        with suppress(OSError):
            if os.environ.get("RANK", "0") == "0":  # of several processes one says it
                sys.stderr.write(f"\nstopped{resumption}\n")
        return 128 + getattr(error, "number", 2)  # as a shell counts signals: 130 after Ctrl-C, 143 after SIGTERM
    except OSError as error:
        if error.filename is None:  # of standard output, most likely
            raise
        return fail(f"{error.filename}: {error.strerror or error}")
    except BaseException as error:
        if is_out_of_memory(error):
            return fail("out of memory; give a smaller --batch-size or --image-size")
        from lenext.models.user_network import locate_error

        if place := locate_error(error):
            return fail(f"{place}: {type(error).__name__}: {error}")
        raise
    finally:
        plain_lines.enabled = before
    return 0


def load_verbs(*names: str) -> None:
    """Import the modules of verbs, and add their examples to their help."""
    from lenext.cli.app import app

    for name in names:
        import_module(f"lenext.cli.{VERBS[name].room}")
        examples = "".join(f"\n    {example}" for example in VERBS[name].examples)
        app[name].help_epilogue = f"Examples:\n{examples}"


def install_completion(words: list[str]) -> int:
    """Install the completion of verbs and options for a shell: the named one, or the one that runs lenext."""
    if len(words) > 1 or (words and words[0] not in SHELLS):
        return fail(f"--install-completion {' '.join(words)}: give one of {', '.join(SHELLS)}, or none for this shell")
    from lenext.cli.app import app

    load_verbs(*VERBS)
    try:
        path = app.install_completion(shell=words[0] if words else None)  # type: ignore[arg-type]
    except Exception as error:  # the shell is not recognized, or its files cannot be written
        return fail(f"--install-completion: {error}; name the shell: {', '.join(SHELLS)}")
    sys.stdout.write(f"completion is in {path}; it works in the next shell that you open\n")
    return 0


def fail(message: str, code: int = 2) -> int:
    """Print an error in one line, and return the exit code."""
    write_error(f"lenext: {message}")
    return code
