"""No page shows where on a machine it was made: no folder above, no home folder, no user name."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import lenext
from lenext.comparison.race import race
from lenext.comparison.vary import vary
from lenext.course.lessons import lesson
from lenext.reporting.page import template_environment
from lenext.reporting.redaction import redact_paths
from lenext.workflows.audit import audit

USER = "annaschmidt"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a space in its path, in which a course's folder is the working folder."""
    home = tmp_path / "home of" / USER
    (home / "course").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home / "course")
    return home


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{home}/course/runs/a: no weights", "runs/a: no weights"),
        ("lenext vary {home}/course/net.py:Net --data={home}/a/b/c", "lenext vary net.py:Net --data=b/c"),
        ("{home}", "~"),
        ("{home}/course", "."),
        ("{home}/images/my flowers/x.png: broken", "my flowers/x.png: broken"),
        ("sqlite:///{home}/course/study.db", "sqlite:///study.db"),
        ("file://{home}/a/b/c", "file://b/c"),
        ("'/home/bert/deep/er/flowers', not (/home/bert/x)", "'er/flowers', not (x)"),
        ("/Users/bert", "~"),
        (r"C:\Users\bert\data\deep\flowers: broken", r"deep\flowers: broken"),
        ("/srv/share/data/flowers.", "data/flowers."),
        ("/data and 1/25, n/a, and/or, 3 GFLOP/s, ./a/b, ../a/b/c, ~/a/b/c", ""),
        ("https://example.org/a/b/c.csv?x=/a b", "https://example.org/a/b/c.csv b"),
        ("data:image/png;base64,AB+/home/bert/x/y/z==", ""),
        ("3 / 4 < 5 </text><rect/>", ""),
    ],
)
def test_what_of_a_path_is_shown(home: Path, text: str, shown: str) -> None:
    (home / "images" / "my flowers").mkdir(parents=True)
    (home / "images" / "my flowers" / "x.png").touch()
    text = text.replace("{home}", str(home))
    assert redact_paths(text) == (shown or text)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\:"), max_size=60))
def test_text_without_paths_stays(text: str) -> None:
    assert redact_paths(text) is text


@given(st.lists(st.from_regex(r"[a-z0-9_.-]{1,8}", fullmatch=True).filter(lambda part: part.strip(".")), min_size=3))
def test_twice_is_once(parts: list[str]) -> None:
    shown = redact_paths(f"see /{'/'.join(parts)}")
    assert redact_paths(shown) == shown
    assert shown.count("/") <= 1


def test_markup_stays_markup_and_escaped(home: Path) -> None:
    template = template_environment().from_string("<p title='{{ name }}'>{{ svg }}</p>")
    page = template.render(name=f"<{home}/a/b/c>", svg=Markup("<b>{}</b>").format(f"{home}/a&b/c"))
    assert page == "<p title='&lt;b/c&gt;'><b>a&amp;b/c</b></p>"


BROKEN = """
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes=2, in_channels=3):
        super().__init__()
        self.net, self.calls = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes)), 0
    def forward(self, x):
        self.calls += self.training
        if self.calls > 1:
            raise OSError(f"{__file__}: no such file")
        return self.net(x)
"""


def assert_private(pages: list[Path], home: Path) -> None:
    """No folder above the working folder, no user's name, no absolute path in the text of these pages."""
    assert pages
    for page in pages:
        text = re.sub(r"data:[\w/]+;base64,[\w+/=]*", "", page.read_text(encoding="utf-8"))
        above = [folder for folder in (home / "course", *(home / "course").parents) if len(folder.parts) > 2]
        for name in (*map(str, above), USER):
            assert name not in text, f"{page.name}: {text[max(0, text.index(name) - 80) : text.index(name) + 120]}"
        assert not re.search(r"""(?<![\w/.~<])/[\w. -]+/[\w. -]+""", text), page.name


def test_every_page_is_rendered_where_places_are_taken_out() -> None:
    """So that a new page cannot forget it: templates are opened in one module alone."""
    package = Path(lenext.__file__).parent
    opened = [path.name for path in package.rglob("*.py") if "jinja2" in path.read_text(encoding="utf-8")]
    assert opened == ["page.py"]
    assert template_environment().from_string("{{ a }}").render(a="in /home/anna/x/y/z") == "in y/z"


@pytest.mark.slow
def test_no_page_tells_a_place(home: Path, photos: Callable[..., Path]) -> None:
    shutil.move(photos("train/up", "train/down", "test/up", "test/down", count=12), home / "my photos")
    (home / "own.py").write_text(BROKEN)
    data, quick = str(home / "my photos"), {"epochs": 1, "batch_size": 4, "quiet": True}
    common: dict[str, Any] = {"data": data, "seeds": 1, "image_size": 32, **quick}
    runs = [lenext.train("lenet", data, image_size=32, name=f"run{at}", seed=at, **quick) for at in range(2)]
    lenext.compare(*runs)
    shutil.rmtree(runs[1].path / "weights")
    shutil.move(home / "my photos", home / "moved")
    lenext.report(runs[1])  # which says what is not there, and where it was
    lenext.compare(runs[1], runs[0], out="broken.html")
    shutil.move(home / "moved", home / "my photos")
    race("lenet", f"{home / 'own.py'}:Net", **common)
    vary("lenet", ["activation=relu,tanh"], **common)
    lesson("softmax-before-the-loss", epochs=1, train_samples=60, quiet=True)
    audit(data, labels=False)
    pages = sorted(Path().rglob("*.html"))
    names = {page.name for page in pages}
    assert {
        "report.html",
        "compare.html",
        "broken.html",
        "race.html",
        "vary.html",
        "lesson.html",
        "audit.html",
    } <= names
    assert_private(pages, home)
    (scatter,) = Path().rglob("race.html")
    assert set(re.findall(r'data-name="([^"]*)"', scatter.read_text())) == {"lenet", "own.py:Net"}
    tables = [*Path().rglob("*race*/race.csv"), *Path().rglob("predictions.csv"), *Path().rglob("audit.csv")]
    assert_private(tables, home)
    assert runs[0].experiment.data == data  # with which a run is resumed


@pytest.mark.slow
def test_a_search_tells_no_place(home: Path) -> None:
    pytest.importorskip("optuna")
    database = f"sqlite:///{home / 'study.db'}"
    vary("lenet", ["learning_rate=0.01..0.1"], search="optuna", data="digits", trials=2, database=database, name="s",
         epochs=1, train_samples=100, quiet=True)  # fmt: skip
    assert_private(sorted(Path().rglob("*.html")), home)
