"""The browser of the machine, for tests of pages."""

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
IN_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which .ci/run installs"),
]
"""The marks of a module of such tests."""

SERIOUS = ("serious", "critical")


def check_state(page: "Page") -> None:
    """Check what is seen of a page: no serious finding of axe, nothing wider than the window."""
    from axe_playwright_python.sync_playwright import Axe

    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in SERIOUS]
    assert not found, [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} px wider than the window"
