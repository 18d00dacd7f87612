"""The feed of the studio: what has changed, to every page that is open, as server-sent events."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from lenext.studio.commands import Commands
from lenext.studio.run_table import RunTable, as_json_value

POLL_SECONDS = 0.5  # between two looks at the folder of the runs
FAILURE_SECONDS = 10.0  # to the next look, after a look that failed
HEARTBEAT_SECONDS = 15.0  # after which a page that hears nothing is sent a comment


def to_json(content: Any) -> str:
    """Return content as JSON; what is no valid text, as the name of a file may be, has `?`."""
    text = json.dumps(as_json_value(content), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="replace").decode()


class Feed:
    """The rows of runs and the commands, as text by name, renewed while a page listens."""

    def __init__(self, table: RunTable, commands: Commands) -> None:
        self.table, self.commands = table, commands
        self.listeners = 0
        self.is_closing = False
        self.latest: dict[str, dict[str, str]] = {"run": {}, "command": {}}
        self.changed = asyncio.Condition()
        self.poll: asyncio.Task[None] | None = None

    def look(self) -> dict[str, dict[str, str]]:
        """Return the present rows and commands."""
        return {
            "run": {name: to_json(row) for name, row in self.table.rows().items()},
            "command": {number: to_json(each.describe()) for number, each in list(self.commands.started.items())},
        }

    async def keep_looking(self) -> None:
        """Look again and again, while a page listens."""
        while self.listeners:
            try:
                latest = await run_in_threadpool(self.look)
            except Exception as error:  # pages would wait for ever
                traceback.print_exception(error)
                await asyncio.sleep(FAILURE_SECONDS)
                continue
            async with self.changed:
                self.latest = latest
                self.changed.notify_all()
            await asyncio.sleep(POLL_SECONDS)

    async def listen(self, is_gone: Callable[[], Any]) -> AsyncIterator[str]:
        """Yield the events for one page.

        The first, `all`, has all runs and commands; later `run` and `command` have those that are new or changed, and
        `gone-run` and `gone-command` the names of those that are not there any more.
        """
        self.listeners += 1
        if self.poll is None or self.poll.done():
            self.poll = asyncio.create_task(self.keep_looking())
        sent: dict[str, dict[str, str]] | None = None
        try:
            yield "retry: 2000\n\n"
            quiet = 0.0
            while not self.is_closing and not await is_gone():
                async with self.changed:
                    await self.changed.wait()
                    latest = self.latest
                if sent is None:
                    lists = (f'"{kind}": [{",".join(each.values())}]' for kind, each in latest.items())
                    events = f"event: all\ndata: {{{', '.join(lists)}}}\n\n"
                else:
                    events = "".join(news(kind, sent[kind], latest[kind]) for kind in sent)
                sent = latest
                quiet = 0.0 if events else quiet + POLL_SECONDS
                if events:
                    yield events
                elif quiet > HEARTBEAT_SECONDS:
                    quiet = 0.0
                    yield ": still here\n\n"
        finally:
            self.listeners -= 1


def news(kind: str, sent: dict[str, str], latest: dict[str, str]) -> str:
    """Return the events that lead from what was sent to what is latest."""
    changed = [text for name, text in latest.items() if sent.get(name) != text]
    events = f"event: {kind}\ndata: [{','.join(changed)}]\n\n" if changed else ""
    gone = [name for name in sent if name not in latest]
    return events + (f"event: gone-{kind}\ndata: {json.dumps(gone)}\n\n" if gone else "")
