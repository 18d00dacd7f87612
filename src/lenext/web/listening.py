"""The address that a server listens at."""

import os
import socket
from collections.abc import Sequence

from lenext.foundation.errors import ConfigurationError

BACKLOG = 1024  # connections that wait until they are accepted


def listen(host: str, ports: Sequence[int]) -> socket.socket:
    """Return a socket that listens, on the first of these ports that is free.

    Raises:
        ConfigurationError: The address is none of this machine, or every port is taken.
    """
    try:
        (family, kind, protocol, _, _), *_ = socket.getaddrinfo(
            host, ports[0], type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:  # a name of too many letters
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"host={host}: not an address ({reason})") from error
    for each in ports:
        # asyncio sends without delay only where the protocol is named: else small answers wait 40 ms
        listening = socket.socket(family, kind, protocol)
        option = "SO_EXCLUSIVEADDRUSE" if os.name == "nt" else "SO_REUSEADDR"  # which there would share the port
        listening.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        try:
            listening.bind((host, each))
            listening.listen(BACKLOG)  # who asks before the server is ready waits
        except OSError as error:
            listening.close()
            if each == ports[-1]:
                raise ConfigurationError(
                    f"port={each}: it cannot be used on {host} ({error.strerror}); give another"
                ) from error
            continue
        return listening
    raise ConfigurationError("port: none was given")
