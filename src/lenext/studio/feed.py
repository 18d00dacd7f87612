"""The feed of the studio: what has changed, to every page that is open, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from lenext.studio.commands import Commands
from lenext.studio.run_table import RunTable, as_json_value

POLL_SECONDS = 0.5  # between two looks at the folder of the runs
HEARTBEAT_SECONDS = 15.0  # after which a page that hears nothing is sent a comment


def to_json(content: Any) -> str:
    """Return content as JSON."""
    return json.dumps(as_json_value(content), ensure_ascii=False, allow_nan=False)


class Feed:
    """The rows of runs and the commands, as text by name, renewed while a page listens."""

    def __init__(self, table: RunTable, commands: Commands) -> None:
        self.table, self.commands = table, commands
        self.listeners = 0
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
            found = await run_in_threadpool(self.look)
            async with self.changed:
                self.latest = found
                self.changed.notify_all()
            await asyncio.sleep(POLL_SECONDS)

    async def listen(self, is_gone: Callable[[], Any]) -> AsyncIterator[str]:
        """Yield events for one page: `run` and `command` with what is new, `gone` with the names of what is not."""
        self.listeners += 1
        if self.poll is None or self.poll.done():
            self.poll = asyncio.create_task(self.keep_looking())
        sent: dict[str, dict[str, str]] = {"run": {}, "command": {}}
        try:
            yield "retry: 2000\n\n"
            quiet = 0.0
            while not await is_gone():
                async with self.changed:
                    await self.changed.wait()
                    latest = self.latest
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
