"""The command `lenext`, also `python -m lenext`: prints the list of verbs at once, and imports the rest on demand."""

import sys

from lenext.foundation.streams import discard_stream, interrupts_in_callbacks, open_streams, write_error
from lenext.verbs import VERBS

START = """\
lenext: build, inspect, train, compare and ship the classic convolutional networks.

Usage: lenext VERB [ARGUMENTS] [OPTIONS]
"""

END = """
`lenext VERB --help` prints the options of a verb; `lenext --install-completion` completes them in your shell.

  lenext train                                train a LeNet on handwritten digits, in seconds
  lenext train resnet18_32px --data cifar10   train a ResNet on small photographs
  lenext predict runs/lenet-digits photo.png  predict the class of an image
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; return the exit code: 0, 2 for an error that the user can fix, 130 after Ctrl-C."""
    open_streams()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words and words[0] not in ("-h", "--help", "help"):
            from lenext.cli import run

            with interrupts_in_callbacks():
                code = run(words)
        else:
            verbs = "".join(f"\n  {name:<10} {verb.about}" for name, verb in VERBS.items())
            sys.stdout.write(f"{START}{verbs}\n{END}")
            code = 0 if words else 2
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stream(sys.stdout)
        return 141  # as a shell counts SIGPIPE
    except OSError as error:
        discard_stream(sys.stdout)
        write_error(f"lenext: cannot write to standard output: {error.strerror or error}")
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
