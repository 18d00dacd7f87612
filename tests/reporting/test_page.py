"""The page of a run: its figures are those of the run, whatever the names, and it needs nothing but itself."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import lenext
from lenext.data.dataset import Dataset
from lenext.reporting.page import confusion_cells
from lenext.reporting.svg import Chart, Line, round_ticks, share_bar
from lenext.runs.folder import Run
from lenext.runs.results import class_metrics
from lenext.runs.saved_predictions import SavedPredictions, read_predictions
from lenext.training.metrics import Record
from lenext.training.notices import Samples, final_notices
from lenext.workflows.report import report

NAMES = ("<script>alert(1)</script>", "שלום", '🌻 sun & "moon"', "a'b", *"456789")


class ParsedPage(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def run(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six epochs of a LeNet on digits whose classes have awkward names."""
    data = Dataset("digits", NAMES, digits.train, test=digits.test, source={"kind": "<b>made</b>"})
    return lenext.train("lenet", data, epochs=6, runs_dir=tmp_path_factory.mktemp("page"), quiet=True)


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return (run.path / "report.html").read_text(encoding="utf-8")


def answers_of(run: Run) -> SavedPredictions:
    answers = read_predictions(run.path / "predictions.csv", run.read_json("split.json")["classes"])
    assert answers is not None
    return answers


def test_it_needs_nothing_but_itself(page: str) -> None:
    html = ParsedPage(page)
    assert not {"link", "iframe", "object", "embed", "base"} & set(html.tags)
    assert all((value or "").startswith("data:") for name, value in html.attributes if name in ("src", "href"))
    assert not re.search(r"url\((?!data:|#)|@import|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "default-src 'none'" in page
    assert len(page) < 5_000_000


def test_names_are_escaped_and_shown(page: str) -> None:
    html = ParsedPage(page)
    assert html.tags.count("script") == 1
    assert "b" in html.tags  # of ours
    assert "<b>made</b>" not in page
    text = " ".join(html.text)
    for name in NAMES:
        assert name in text


def test_the_figures_are_those_of_the_run(run: Run, page: str) -> None:
    test = run.results["test"]
    assert f"{test['accuracy']:.2%}" in page
    answers = answers_of(run)
    assert answers.accuracy == pytest.approx(test["accuracy"])
    counts = confusion_matrix(answers.labels, answers.predicted)
    assert np.array_equal(answers.confusion(), counts)
    cells = confusion_cells(answers)
    assert [[cell["count"] for cell in row] for row in cells] == counts.tolist()
    precision, recall, f1, number = precision_recall_fscore_support(answers.labels, answers.predicted, zero_division=0)
    for at, row in enumerate(class_metrics(answers, NAMES)):
        figures = [row["precision"], row["recall"], row["f1"], row["images"]]
        assert figures == pytest.approx([precision[at], recall[at], f1[at], number[at]])
    shown = re.findall(r'data-count="(\d*)"', page)
    assert [int(text or 0) for text in shown] == counts.ravel().tolist()
    pairs = answers.most_confused()
    assert [count for _, _, count, _ in pairs] == sorted((counts - np.diag(counts.diagonal())).ravel(), reverse=True)[
        : len(pairs)
    ]


def test_the_page_has_the_figures_of_show(page: str) -> None:
    """The page embeds the figures of `show`, which test_show.py tests."""
    names = re.findall(r'<img class="figure-image" src="data:image/png;base64,[^"]+" alt="([^"]+)"', page)
    assert names == [
        "augmentation", "channels", "first filters", "filtered", "early maps", "last maps", "embedding",
        "receptive fields",
    ]  # fmt: skip


def test_what_a_network_lacks_is_left_out(few: Dataset, tmp_path: Path) -> None:
    dense = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    page = (lenext.train(dense, few, epochs=1, runs_dir=tmp_path, quiet=True).path / "report.html").read_text()
    assert re.findall(r'<img class="figure-image"[^>]+alt="([^"]+)"', page) == ["augmentation", "channels", "embedding"]
    assert "No explanations here" in page


def test_curves_hold_the_records(run: Run, page: str) -> None:
    points = re.findall(r'data-name="validation" data-points="([^"]*)"', page)
    assert len(points) == 2
    losses, accuracies = ([one.split(",") for one in some.split(" ")] for some in points)
    for record, loss, accuracy in zip(run.records, losses, accuracies, strict=True):
        assert (int(loss[2]), loss[3]) == (record.epoch, f"{record.val_loss:.4g}")
        assert accuracy[3] == f"{record.val_accuracy:.1%}"
    (points,) = re.findall(r'data-name="learning rate" data-points="([^"]*)"', page)
    rates = [float(point.split(",")[3]) for point in points.split(" ")]
    each = -(-run.read_json("split.json")["samples"]["train"] // run.experiment.recipe.batch_size)  # type: ignore[operator]
    assert len(rates) == 6 * each
    assert max(rates) == pytest.approx(run.experiment.recipe.learning_rate)
    assert rates.index(max(rates)) == round(0.3 * 6 * each) - 1
    heights = [float(one[1]) for one in losses]
    order = sorted(range(len(heights)), key=lambda at: -heights[at])
    assert order == sorted(range(len(heights)), key=lambda at: run.records[at].val_loss or 0)  # down is less


def make_answers(
    labels: list[int], predicted: list[int], probability: list[float], loss: list[float]
) -> SavedPredictions:
    columns = np.array(labels), np.array(predicted), np.array(probability), np.array(loss)
    return SavedPredictions(("a", "b", "c"), np.array([str(at) for at in range(len(labels))]), *columns)


def test_calibration_by_hand() -> None:
    answers = make_answers([0, 1, 2, 0], [0, 1, 0, 0], [0.95, 0.92, 0.55, 1.0], [0.1, 0.1, 2.0, 0.0])
    (low, low_right, low_count), (high, high_right, high_count) = answers.reliability_bins()
    assert (low, low_right, low_count) == (0.55, 0.0, 1)
    assert (round(high, 4), high_right, high_count) == (0.9567, 1.0, 3)
    assert answers.calibration_error == pytest.approx((0.55 + 3 * (1 - 2.87 / 3)) / 4)


def test_worst_and_most_doubtful() -> None:
    nan = float("nan")
    answers = make_answers([0, 1, 2, 0, 1], [1, 1, 0, 2, 0], [0.9, 0.4, 0.8, nan, 0.7], [2.0, 0.9, 3.0, nan, 1.0])
    assert answers.confident_mistakes(4).tolist() == [0, 2, 4, 3]  # what is no number is not sure of anything
    assert answers.least_confident(2).tolist() == [3, 1]
    assert np.isfinite(answers.calibration_error)
    assert make_answers([0, 0, 0], [1, 1, 1], [1.0, 1.0, 1.0], [3.0, 9.0, nan]).confident_mistakes(3).tolist() == [
        2,
        1,
        0,
    ]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0, 1) | st.just(float("nan")),
                          st.floats(0, 50) | st.just(float("nan"))), max_size=60), st.integers(0, 30))  # fmt: skip
def test_mistakes_come_by_confidence(rows: list[tuple[int, int, float, float]], count: int) -> None:
    answers = make_answers(*([row[at] for row in rows] for at in range(4))) if rows else make_answers([], [], [], [])  # type: ignore[arg-type]
    shown, everything = answers.confident_mistakes(count), answers.confident_mistakes(len(rows))
    assert shown.tolist() == everything[:count].tolist()
    assert sorted(everything.tolist()) == [at for at, row in enumerate(rows) if row[0] != row[1]]
    confidence = np.nan_to_num(answers.probability[everything]).tolist()
    assert confidence == sorted(confidence, reverse=True)


def gallery_percents(page: str, panel: int) -> list[int]:
    """The probabilities in a gallery, in per cent, in their order."""
    panels = page.split('<div class="panel" id="gallery')[1:]
    return [
        int(number) for number in re.findall(r'class="answer" dir="auto">[^<]*\((\d+)%\)</span>', panels[panel - 1])
    ]


def test_galleries_are_sorted_as_they_say(page: str) -> None:
    for panel, caption in ((1, "Wrong predictions, the most confident first"), (2, "the least confident first")):
        assert caption in page
        percents = gallery_percents(page, panel)
        assert len(percents) > 3
        assert percents == sorted(percents, reverse=panel == 1)


def calibrated(count: int, shift: float, seed: int) -> SavedPredictions:
    """Answers whose probability is off by `shift`."""
    draw = np.random.default_rng(seed)
    true = draw.uniform(0.55, 0.9, count)
    labels = np.where(draw.random(count) < true, 0, 1)
    columns = labels.tolist(), [0] * count, (true + shift).tolist(), [1.0] * count
    return make_answers(*columns)


def test_a_calibration_error_that_chance_explains_is_none() -> None:
    """On 50 answers a calibrated network has an error of about 15 %; it is within the bound 95 times of 100."""
    within = [
        (answers := calibrated(50, 0.0, seed)).calibration_error <= answers.calibration_error_by_chance
        for seed in range(100)
    ]
    assert 88 <= sum(within) <= 100
    assert np.mean([calibrated(50, 0.0, seed).calibration_error for seed in range(100)]) > 0.08
    for shift in (-0.1, 0.095):
        answers = calibrated(5000, shift, 1)
        assert answers.calibration_error == pytest.approx(abs(shift), abs=0.02)
        assert answers.calibration_error > 2 * answers.calibration_error_by_chance
        confidence, accuracy = answers.confidence_and_accuracy
        assert confidence - accuracy == pytest.approx(shift, abs=0.02)
    none = make_answers([0], [0], [float("nan")], [1.0])
    assert (none.calibration_error, none.calibration_error_by_chance, none.confidence_and_accuracy) == (
        0.0,
        0.0,
        (0.0, 0.0),
    )


def test_a_page_that_tells_of_calibration_does_not_say_that_nothing_is_odd(digits: Dataset, tmp_path: Path) -> None:
    run = lenext.train("lenet", digits, epochs=6, label_smoothing=0.4, runs_dir=tmp_path, quiet=True)
    page = (run.path / "report.html").read_text()
    assert answers_of(run).calibration_error > 0.1
    assert "No problem was final_notices" not in page
    assert "underconfident" in page
    assert "label_smoothing=0.4" in page


def record(epoch: int, train: float, val: float | None, loss: float = 0.1) -> Record:
    return Record(epoch, 1.0, loss, train, None if val is None else loss, val, 0.1)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([record(1, 0.4, 0.42), record(5, 0.71, 0.60)], "by heart: 71.0% of them right in the last epoch, but 60.0%"),
        ([record(1, 0.9, 0.92), record(5, 0.26, 0.26)], "collapsed: 92.0% in epoch 1, 26.0% at the end"),
        ([record(1, 0.1, 0.1, 2.31), record(2, 0.1, 0.1, 2.30)], "no better than chance (10%)"),
        ([record(1, 0.9, 0.92), record(5, 0.97, 0.95)], ""),
        ([record(1, 0.9, None), record(2, 0.95, None)], ""),
        ([], ""),
    ],
)
def test_what_is_noticed(records: list[Record], expected: str) -> None:
    notices = " ".join(final_notices(records, Samples(10, 0.1, 50_000, 10_000)))
    assert expected in notices
    assert bool(expected) == bool(notices)


def test_a_leak_is_noticed(digits: Dataset, tmp_path: Path) -> None:
    rows = torch.arange(60)
    data = Dataset("leak", digits.classes, digits.train.take(rows), test=digits.train.take(rows[:7]))
    run = lenext.train("lenet", data, epochs=1, runs_dir=tmp_path, quiet=True, validation_fraction=0.0)
    assert "7 of the test images are training images too" in (run.path / "report.html").read_text()


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_what_is_missing_is_said(copied: Run) -> None:
    shutil.rmtree(copied.path / "weights")
    page = report(copied).read_text()
    assert "Without the weights" in page
    assert "Without the data" in page  # they were made in Python
    assert "Confusion matrix" in page
    (copied.path / "predictions.csv").unlink()
    (copied.path / "results.json").unlink()
    page = report(copied).read_text()
    assert "has not read its test set" in page
    assert "<h2>Training</h2>" in page


def test_a_thousand_classes_and_numbers_that_are_none(copied: Run) -> None:
    names = [f"class {at}" for at in range(1000)]
    split = json.loads((copied.path / "split.json").read_text())
    (copied.path / "split.json").write_text(json.dumps(split | {"classes": names}))
    lines = ["sample,true,predicted,probability,loss"]
    lines += [f"{at},class {at},class {(at * 7) % 1000},{'nan' if at % 3 else 0.5},nan" for at in range(1000)]
    (copied.path / "predictions.csv").write_text("\n".join(lines))
    shutil.rmtree(copied.path / "weights")
    page = report(copied).read_text()
    assert "The 20 worst of 1,000 classes" in page
    assert len(page) < 2_000_000


def test_two_classes_of_which_one_is_answered(few: Dataset, tmp_path: Path) -> None:
    rows = torch.arange(40)
    labels = (rows % 10 == 0).long()
    split = lenext.Split(few.train.images[rows], labels, few.train.ids[:40])
    data = Dataset("two", ("yes", "no"), split, test=split)
    run = lenext.train("lenet", data, epochs=1, runs_dir=tmp_path, quiet=True, learning_rate=0.0)
    assert "Results by class" in (run.path / "report.html").read_text()


def test_charts_by_hand() -> None:
    chart = Chart("t", [Line("a", [1, 2, 3], [0.0, None, 1.0])], percent=True, from_zero=True)
    assert chart.y(0.0) > chart.y(0.5) > chart.y(1.0)
    drawn = chart.draw()
    assert 'data-points="52.0,' in drawn
    assert drawn.count("100%") == 1
    assert round_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert round_ticks(1, 6, 8, integers=True) == [1, 2, 3, 4, 5, 6]
    assert 'width="25.0"' in share_bar(0.25)
    Chart("one", [Line("a", [1], [0.3])]).draw()
    Chart("none", [Line("a", [1, 2], [float("nan"), None])]).draw()


DRIVE = """<script>
window.addEventListener("load", function () {
  var out = [];
  var figure = document.querySelector("figure.interactive"), svg = figure.querySelector("svg"), box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width * 0.99, clientY: box.top + 20 }));
  out.push("tip: " + figure.querySelector(".tooltip").innerText.split(String.fromCharCode(10)).join(" "));
  var tabs = document.querySelectorAll(".tabs [data-panel]");
  tabs[1].click();
  out.push("panels: " + Array.from(document.querySelectorAll(".panel")).map(function (one) { return one.hidden; }).join(" "));
  document.querySelector('[data-switch="share"]').click();
  out.push("cell: " + document.querySelector(".matrix td[data-count]").textContent);
  document.querySelector('.theme [data-theme="dark"]').click();
  out.push("paper: " + getComputedStyle(document.body).backgroundColor);
  out.push("wide: " + (document.documentElement.scrollWidth <= window.innerWidth));
  out.push("requests: " + performance.getEntriesByType("resource").filter(function (one) { return !one.name.startsWith("data:"); }).length);
  out.push("broken: " + Array.from(document.images).filter(function (one) { return one.complete && !one.naturalWidth; }).length);
  document.body.textContent = out.join(" | ");
});
window.addEventListener("error", function (event) { document.title = "error " + event.message; });
</script>"""  # noqa: E501


@pytest.fixture(scope="module")
def browser() -> str:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        pytest.skip("no Chromium here")
    return path


@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser(run: Run, page: str, browser: str, tmp_path: Path, width: int) -> None:
    """Hovering, switching, tabs; nothing asked of any host, nothing wider than the window, no error."""
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"{DRIVE}</body>"), encoding="utf-8")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom", path.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "<title>error" not in done.stdout
    body = done.stdout[done.stdout.index("<body") :]
    last = run.records[-1]
    assert f"tip: epoch 6 training {last.train_loss:.4g} validation {last.val_loss:.4g}" in body
    assert "panels: true false true" in body
    counts = answers_of(run).confusion()
    assert f"cell: {100 * counts[0, 0] / counts[0].sum():.0f}%" in body
    assert "paper: rgb(20, 23, 29)" in body
    assert "requests: 0" in body
    assert "broken: 0" in body
    if width >= 500:  # the window of a headless browser is never narrower
        assert "wide: true" in body
