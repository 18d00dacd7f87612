"""The content security policy of the studio's page."""

import base64
import hashlib
import re
from functools import cache

from lenext.web.headers import page_policy
from lenext.web.pages import page_files

PACKAGE = "lenext.studio"


@cache
def policy() -> str:
    """Return the content security policy of the page: its scripts are files, but for the map of their names."""
    page = page_files(PACKAGE)["studio.html"]
    inline = re.findall(rb"<script type=\"importmap\">(.*?)</script>", page, re.DOTALL)
    return page_policy(tuple(base64.b64encode(hashlib.sha256(each).digest()).decode() for each in inline))
