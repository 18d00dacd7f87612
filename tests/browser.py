"""The browser of the machine, for tests of pages."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
IN_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which .ci/run installs"),
]
"""The marks of a module of such tests."""
