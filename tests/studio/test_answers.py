"""What the studio answers: rows, runs, forms, data, reviews, predictions; and what it refuses, in words."""

import hashlib
import http.client
import io
import json
import math
import os
import re
import shutil
import threading
import time
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import lenext
from lenext.cli import run as run_command
from lenext.data.corrections import read_corrections
from lenext.foundation.errors import ConfigurationError
from lenext.models import MODELS
from lenext.runs.folder import Run
from lenext.studio.feed import to_json
from lenext.studio.run_table import RunTable, describe
from lenext.studio.training_form import describe_form, training_arguments
from lenext.training.recipe import Recipe, key_names
from lenext.training.recipes import RECIPES
from lenext.workflows.listing import list_runs
from lenext.workflows.prepare import build_experiment, resolve_experiment
from tests.studio.conftest import TOKEN, Served

AUDIT_HEADER = "kind,split,sample,description,score,beside_split,beside_sample\n"


def test_vendored_files_are_those_of_the_list() -> None:
    folder = files("lenext.studio").joinpath("static", "vendor")
    listed = json.loads(folder.joinpath("vendor.json").read_text())
    found = {each.name for each in folder.iterdir()} - {"vendor.json"}
    assert found == {each["file"] for each in listed} | {each["license_file"] for each in listed}
    for each in listed:
        assert hashlib.sha256(folder.joinpath(each["file"]).read_bytes()).hexdigest() == each["sha256"], each["file"]
        assert each["license"] in ("MIT", "Apache-2.0")


def test_rows_are_those_of_the_command_line(served: Served) -> None:
    rows = {row["name"]: row for row in served.get("/api/runs")["runs"]}
    listed = {Path(row["run"]).name: row for row in list_runs(served.studio.runs_dir)}
    assert set(rows) == set(listed) == {"done", "half", "broken"}
    for name, row in listed.items():
        assert [rows[name][key] for key in ("state", "validation", "test", "network")] == [
            row[key] for key in ("state", "validation", "test", "network")
        ]
    done = rows["done"]
    assert (done["state"], done["done"], done["epochs"], done["network"]) == ("finished", 2, 2, "lenet")
    assert done["test"] == Run(served.studio.runs_dir / "done").results["test"]["accuracy"]
    assert (rows["half"]["state"], rows["half"]["done"], rows["half"]["epochs"]) == ("stopped", 1, 3)
    assert rows["broken"]["state"] == "broken"
    assert "not YAML" in rows["broken"]["error"]


def test_a_run_in_full(served: Served, done: Run) -> None:
    run = served.get("/api/runs/done")
    assert [each["epoch"] for each in run["records"]] == [1, 2]
    assert run["records"][1]["val_accuracy"] == done.records[1].val_accuracy
    assert run["pages"] == ["report.html"]
    assert run["has_weights"]
    assert not run["has_own_network"]
    assert "test accuracy" in run["log"]
    assert served.refusal("GET", "/api/runs/broken")[0] == 400
    status, words = served.refusal("GET", "/api/runs/nothing")
    assert status == 404
    assert "there is no such run" in words


def test_a_run_that_trains(served: Served, done: Run) -> None:
    with done.lock():
        assert done.trainer == psutil.Process()
        row = next(row for row in served.get("/api/runs")["runs"] if row["name"] == "done")
        assert row["state"] == "finished", "its results are there"
    half = Run(served.studio.runs_dir / "half")
    with half.lock():
        rows = {row["name"]: row for row in served.get("/api/runs")["runs"]}
        assert rows["half"]["state"] == "training"
        assert "a process trains it already" in served.refusal("POST", "/api/runs/half/resume")[1]
    assert half.trainer is None
    assert "no process trains it" in served.refusal("POST", "/api/runs/half/stop")[1]


def test_a_folder_whose_name_is_no_text(served: Served, done: Run) -> None:
    strange = os.fsencode(served.studio.runs_dir) + b"/bad-\xff"
    shutil.copytree(os.fsencode(done.path), strange)
    try:
        assert "done" in {row["name"] for row in served.get("/api/runs")["runs"]}
    finally:
        shutil.rmtree(strange)


def test_a_command_is_stopped_once(served: Served) -> None:
    form = {"network": "lenet", "data": "digits", "name": "endless", "keys": {"epochs": "5000", "threads": "1"}}
    number = served.post("/api/trainings", **form)["number"]
    assert "is being prepared" in served.refusal("POST", "/api/trainings", **form)[1]
    assert served.post(f"/api/commands/{number}/stop")["number"] == number
    served.refusal("POST", "/api/runs/endless/stop")  # nor by another way
    assert re.search("stopping already|ended already", served.refusal("POST", f"/api/commands/{number}/stop")[1])
    assert served.wait(number)["state"] == "stopped"
    assert "ended already" in served.refusal("POST", f"/api/commands/{number}/stop")[1]
    shutil.rmtree(served.studio.runs_dir / "endless", ignore_errors=True)


def test_a_deleted_run_is_gone(served: Served, done: Run) -> None:
    copy = served.studio.runs_dir / "copy"
    shutil.copytree(done.path, copy)
    assert served.get("/api/runs/copy")["name"] == "copy"
    shutil.rmtree(copy)
    assert served.refusal("GET", "/api/runs/copy")[0] == 404
    assert served.refusal("GET", "/runs/copy/report.html")[0] == 404
    assert "copy" not in {row["name"] for row in served.get("/api/runs")["runs"]}


def test_numbers_that_are_none_are_text(tmp_path: Path, done: Run) -> None:
    copy = Run(tmp_path / "copy")
    shutil.copytree(done.path, copy.path)
    text = (copy.path / "results.csv").read_text().splitlines()
    cells = text[2].split(",")
    cells[text[0].split(",").index("val_loss")] = "nan"
    (copy.path / "results.csv").write_text("\n".join([*text[:2], ",".join(cells)]) + "\n")
    assert math.isnan(copy.records[1].val_loss or 0)
    assert json.loads(to_json(describe(copy)))["records"][1]["val_loss"] == "nan"


def test_unchanged_files_are_not_read_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    table = RunTable(served.studio.runs_dir)
    rows = table.rows()
    monkeypatch.setattr("lenext.studio.run_table.read_row", lambda run: pytest.fail(f"{run} was read again"))
    assert table.rows() == rows


def test_news(served: Served, done: Run) -> None:
    """A page hears of all runs at first, then of changes alone."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/api/events", headers={"authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    assert "unsafe" not in answer.getheader("content-security-policy", "unsafe")

    def event() -> tuple[str, Any]:
        lines: list[str] = []
        while not any(line.startswith("data: ") for line in lines):
            lines.append(answer.readline().decode().rstrip("\n"))
        return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))

    kind, everything = event()
    assert kind == "all"
    assert {"done", "half", "broken"} <= {row["name"] for row in everything["run"]}
    (done.path / "results.csv").touch()
    kind, rows = event()
    assert kind == "run"
    assert [row["name"] for row in rows] == ["done"]
    copy = served.studio.runs_dir / "short-lived"
    shutil.copytree(done.path, copy)
    assert event()[0] == "run"
    shutil.rmtree(copy)
    assert event() == ("gone-run", ["short-lived"])
    connection.close()
    until = time.monotonic() + 30
    while served.studio.feed.listeners and time.monotonic() < until:
        time.sleep(0.1)
    assert served.studio.feed.listeners == 0, "the studio still talks to a page that has gone"


@pytest.mark.parametrize("network", ["", *list(MODELS)[::7]])
def test_the_form_has_all_keys(network: str) -> None:
    form = describe_form(network, "")
    keys = {each["name"]: each for group in form["groups"] for each in group["keys"]}
    assert tuple(sorted(keys)) == tuple(sorted(key_names()))
    assert all(each["about"] for each in keys.values())
    assert keys["optimizer"]["choices"] == ["sgd", "adamw", "muon"]
    assert keys["epochs"]["is_number"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_values_of_the_form_are_values_of_the_command_line(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form that repeats all values that it shows asks for the same recipe."""
    form = describe_form("", recipe)
    values = {each["name"]: each["value"] for group in form["groups"] for each in group["keys"]}
    arguments = training_arguments({"network": form["outer"]["network"], "keys": values}, tmp_path, "run")
    asked: dict[str, Any] = {}
    monkeypatch.setattr("lenext.workflows.train.train", lambda network, data, **given: asked.update(given))
    assert run_command(arguments) == 0
    shown = resolve_experiment(build_experiment(recipe, {}, {})).recipe
    assert Recipe(**{key: asked[key] for key in key_names()}) == shown


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"keys": {"epochs": "many"}}, "epochs=many"),
        ({"keys": {"epochs": "0"}}, "epochs=0: it must be at least 1"),
        ({"keys": {"epcohs": "3"}}, "no such key"),
        ({"keys": {"epochs": 3}}, "names and texts"),
        ({"options": "tanh"}, "give KEY=VALUE"),
        ({"options": {"activation": "tanh"}}, "text is needed"),
        ({"keys": []}, "names and texts"),
        ({"network": 3}, "network: text is needed"),
        ({"network": "--help"}, "not the name of a network"),
        ({"nework": "lenet"}, "no such field"),
    ],
)
def test_a_wrong_form_is_refused(form: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        training_arguments(form, tmp_path, "run")


def test_options_cannot_be_smuggled_in(tmp_path: Path) -> None:
    form = {"data": "--offline", "recipe": "-x", "options": "activation=tanh widths=6,16", "pretrained": True}
    assert training_arguments(form, tmp_path, "a b") == [
        "train", "--data=--offline", "--recipe=-x", "--pretrained", "--option=activation=tanh", "--option=widths=6,16",
        "--name=a b", f"--runs-dir={tmp_path}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"network": "lenett"}, "did you mean"),
        ({"name": "done"}, "exists already"),
        ({"name": "../done"}, "not a name for a run"),
        ({"recipe": "quik"}, "did you mean"),
    ],
)
def test_a_training_that_cannot_be_is_refused(served: Served, body: dict[str, Any], words: str) -> None:
    for path in ("/api/plan", "/api/trainings"):
        assert words in served.refusal("POST", path, **body)[1]


def test_a_plan(served: Served) -> None:
    asked = served.post("/api/plan", network="lenet", data="digits", keys={"epochs": "3", "train_samples": "100"})
    plan = served.wait(asked["number"])
    assert plan["state"] == "done", plan
    assert "3 epochs" in plan["result"]["plan"]["recipe"]
    assert " for 3 " in plan["result"]["plan"]["time"]
    assert "dry-run" not in asked["training"]
    wrong = served.wait(served.post("/api/plan", network="vgg16", data="digits", keys={"image_size": "28"})["number"])
    assert wrong["state"] == "failed"
    assert "image-size" in wrong["error"]
    assert not (served.studio.runs_dir / "lenet-digits").exists()


def test_data_are_shown(served: Served, digits: Any) -> None:
    data = served.get("/api/data?source=digits")
    assert data["classes"] == list("0123456789")
    assert sum(data["splits"]["train"]) == len(digits.train)
    listed = served.get("/api/data/images?source=digits&split=train&label=3&page=1")
    assert {each["label"] for each in listed["images"]} == {"3"}
    row = listed["images"][0]["row"]
    _, headers, content = served.request("GET", f"/data/image?source=digits&split=train&row={row}")
    assert headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), digits.train.images[torch.tensor([row])][0, 0])


def test_augmentation_is_that_of_training(served: Served, digits: Any) -> None:
    def drawn(keys: str) -> np.ndarray[Any, Any]:
        status, _, content = served.request("GET", f"/data/augmented?source=digits&split=train&row=5&{keys}")
        assert status == 200, content
        return np.asarray(Image.open(io.BytesIO(content)))

    original = digits.train.images[torch.tensor([5])][0, 0].numpy()
    assert np.array_equal(drawn("shift=0"), original)
    assert np.array_equal(drawn("draw=1"), drawn("draw=1"))
    assert any(not np.array_equal(drawn(f"draw={draw}"), original) for draw in range(4))
    mirrored = [drawn(f"shift=0&flip=true&draw={draw}") for draw in range(6)]
    assert any(np.array_equal(each, original[:, ::-1]) for each in mirrored)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/data", "give a name or a path"),
        ("/api/data?source=nothing", "no such data set"),
        ("/api/data?source=/nowhere/photos", "no such data set"),
        ("/api/data?source=ab%00c", "not a path"),
        ("/api/data/images?source=digits&split=extra", "split"),
        ("/api/data/images?source=digits&label=ten", "class"),
        ("/api/data/images?source=digits&page=999", "page=999"),
        ("/api/data/images?source=digits&page=-1", "a whole number is needed"),
        ("/data/image?source=digits&row=99999", "there is no image 99999"),
        ("/data/image?source=digits&row=1e9", "a whole number is needed"),
        ("/data/augmented?source=digits&draw=99", "draw=99"),
        ("/data/augmented?source=digits&epochs=3", "key of the augmentation"),
        ("/data/augmented?source=digits&shift=28", "28 px"),
        ("/data/augmented?source=digits&recipe=lenett", "there is no recipe"),
    ],
)
def test_data_that_are_not_there(served: Served, path: str, words: str) -> None:
    assert words in served.refusal("GET", path)[1]


def test_predictions_are_those_of_predict(served: Served, done: Run, tmp_path: Path) -> None:
    image = Image.fromarray(np.pad(np.full((80, 20), 255, np.uint8), ((20, 20), (60, 10))))
    image.save(tmp_path / "drawn.png")
    content = (tmp_path / "drawn.png").read_bytes()
    for drawn in (0, 1):
        status, _, answer = served.request(
            "POST", f"/api/runs/done/predict?drawn={drawn}", content, {"content-type": "image/png"}
        )
        assert status == 200, answer
        drawing = tmp_path / "drawn.png"
        expected = lenext.predict(done, drawing, top=10, digit=bool(drawn), precision="fp32")[0]  # as the studio
        assert json.loads(answer)["classes"] == list(expected.classes)  # type: ignore[union-attr]
        assert json.loads(answer)["probabilities"] == pytest.approx(expected.probabilities)  # type: ignore[union-attr]
    for body, kind, words in ((b"no image", "image/png", "the image"), (content, "text/html", "an image is needed")):
        status, _, answer = served.request("POST", "/api/runs/done/predict", body, {"content-type": kind})
        assert status == 400
        assert words in json.loads(answer)["error"]
        assert "/tmp" not in answer.decode()


def make_audit(served: Served, name: str) -> Path:
    """Write an audit with two findings about the digits."""
    path = served.studio.reviews.begin("digits")
    first, second = (served.studio.data.open("digits").train.ids[row] for row in (0, 1))
    (path / "audit.csv").write_text(
        f'{AUDIT_HEADER}suspect label,train,{first},"labelled <b>0</b>",0.9,,\n'
        f"near duplicate,train,{second},nearly the same,0.8,train,{first}\n"
    )
    return path


def test_a_review(served: Served) -> None:
    path = make_audit(served, "digits")
    audit = served.get(f"/api/audits/{path.name}")
    suspect, pair = audit["findings"]
    assert (suspect["row"], suspect["decision"]) == (0, "")
    assert (pair["row"], pair["beside_row"]) == (1, 0)
    label = "1" if suspect["label"] == "0" else "0"
    sample = {"split": "train", "sample": suspect["sample"]}
    decisions = f"/api/audits/{path.name}/decisions"
    assert served.post(decisions, **sample, decision="drop")["decisions"] == {"drop": 1}
    assert served.post(decisions, **sample, decision="relabel", label=label)["decisions"] == {"relabel": 1}
    assert served.post(decisions, **sample | {"sample": pair["sample"]}, decision="keep")["decisions"] == {
        "relabel": 1, "keep": 1,
    }  # fmt: skip
    assert [each.decision for each in read_corrections(path / "corrections.csv")] == ["relabel", "keep"]
    again = served.get(f"/api/audits/{path.name}")
    assert [each["decision"] for each in again["findings"]] == ["relabel", "keep"]
    assert served.post(decisions, **sample, decision="")["decisions"] == {"keep": 1}
    assert str(path / "corrections.csv") in again["command"]
    assert path.name in {each["name"] for each in served.get("/api/audits")["audits"]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"split": "train", "sample": "0", "decision": "erase"}, "decision=erase"),
        ({"split": "train", "sample": "0", "decision": "relabel"}, "relabel needs a label"),
        ({"split": "train", "sample": "0", "decision": "relabel", "label": "ten"}, "class"),
        ({"split": "train", "sample": "0", "decision": "drop", "label": "1"}, "drop takes no label"),
        ({"split": "train", "sample": "nothing", "decision": "drop"}, "no such sample"),
        ({"split": "other", "sample": "0", "decision": "drop"}, "no such sample"),
        ({"split": "train", "sample": 0, "decision": "drop"}, "text is needed"),
    ],
)
def test_wrong_decisions(served: Served, body: dict[str, Any], words: str) -> None:
    path = make_audit(served, "digits")
    assert words in served.refusal("POST", f"/api/audits/{path.name}/decisions", **body)[1]
    assert not (path / "corrections.csv").exists()


def test_audits_of_nothing(served: Served) -> None:
    before = len(served.get("/api/audits")["audits"])
    for source in ("", "nothing", "-x"):
        served.refusal("POST", "/api/audits", data=source)
    assert len(served.get("/api/audits")["audits"]) == before
    assert served.refusal("GET", "/api/audits/nothing")[0] == 404


def test_comparisons_and_pages(served: Served) -> None:
    assert "from 2 to" in served.refusal("POST", "/api/compare", runs=["done"])[1]
    assert served.refusal("POST", "/api/compare", runs=["done", "nothing"])[0] == 404
    assert "a list of names" in served.refusal("POST", "/api/compare", runs="done")[1]
    assert "report and explore" in served.refusal("POST", "/api/runs/done/pages/train")[1]
    compared = served.wait(served.post("/api/compare", runs=["done", "half"])["number"])
    assert compared["state"] == "done", compared
    status, headers, content = served.request("GET", compared["page"])
    assert status == 200
    assert headers["content-security-policy"].startswith("sandbox ")
    assert b"2 runs side by side" in content
    written = served.wait(served.post("/api/runs/done/pages/report")["number"])
    assert written["state"] == "done", written
    assert served.refusal("GET", "/api/commands/nothing")[0] == 404


def test_the_feed_survives_a_failure(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenext.studio.feed.FAILURE_SECONDS", 0.1)
    look, calls = served.studio.feed.look, list[int]()

    def fail_first() -> dict[str, dict[str, str]]:
        calls.append(1)
        if len(calls) == 1:
            raise FileNotFoundError("a run was deleted")
        return look()

    monkeypatch.setattr(served.studio.feed, "look", fail_first)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/api/events", headers={"authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert any(answer.readline().startswith(b"event: all") for _ in range(4))
    assert len(calls) > 1
    connection.close()


STRANGE = ["a\0b", "\ud800", "x" * 300, "x" * 200_000, "\N{GRINNING FACE}" * 200, "../..", "/dev/zero"]


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_strange_texts_are_refused(served: Served, text: str) -> None:
    """No text leads to an error of lenext's own, whatever field it is in."""
    actions = [
        ("/api/trainings", {field: text, "keys": {"epochs": "0"}})
        for field in ("network", "data", "recipe", "name", "weights", "options")
    ]
    actions += [("/api/audits", {"data": text, "labels": False}), ("/api/runs/half/resume", {"epochs": text})]
    actions += [("/api/trainings", {"keys": {key: text}}) for key in ("image_size", "optimizer", "flip")]
    for path, body in actions:
        status, _, content = served.request(
            "POST", path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        assert status < 500, (path, content)
        if status == 200:  # the command has the last word
            assert served.wait(json.loads(content)["number"])["state"] == "failed"
    for path in (
        "/api/runs/{}",
        "/api/audits/{}",
        "/api/data?source={}",
        "/api/form?recipe={}",
        "/api/form?network={}",
    ):
        quoted = quote(text[:3000], errors="surrogatepass", safe="")
        status, _, content = served.request("GET", path.format(quoted))
        assert 400 <= status < 500, (path, content)


BROKEN: dict[str, bytes] = {
    "recipe.yaml": b'data: "\\ud800"\n',
    "results.json": b'{"test": {"accuracy": "\\ud800"}, "training_seconds": "x"}',
    "split.json": b'{"samples": {"\\ud800": 1}}',
    "results.csv": b"epoch,seconds\n1,x\n",
    "train.log": b"\xff\xfe\0",
}


@pytest.mark.parametrize("name", [*BROKEN, "a list", "deep", "a large seed"])
def test_broken_files_of_a_run(served: Served, done: Run, name: str) -> None:
    copy = served.studio.runs_dir / "strange"
    shutil.copytree(done.path, copy)
    try:
        if name in BROKEN:
            (copy / name).write_bytes(BROKEN[name])
        elif name == "a list":
            (copy / "results.json").write_text("[1, 2]")
        elif name == "deep":
            (copy / "results.json").write_text('{"a": ' * 900 + "1" + "}" * 900)
        else:
            (copy / "recipe.yaml").write_text(f"seed: 0x{'f' * 5000}\n")
        names = {row["name"] for row in served.get("/api/runs")["runs"]}
        assert {"strange", "done"} <= names
        status, _, content = served.request("GET", "/api/runs/strange")
        assert status in (200, 400, 404), content
        json.loads(content)
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize("content", ["[1]", "[" * 100_000, '{"data": 3}', "", '{"data": "\\ud800"}'], ids=range(5))
def test_a_broken_audit_does_not_hide_others(served: Served, content: str) -> None:
    good, bad = make_audit(served, "digits"), make_audit(served, "digits")
    (bad / "source.json").write_text(content)
    assert good.name in {each["name"] for each in served.get("/api/audits")["audits"]}
    assert 400 <= served.request("GET", f"/api/audits/{bad.name}")[0] < 500
    (good / "audit.csv").write_text("kind,split,sample,description,score\nimbalance,train,7,few,1\n")
    assert served.get(f"/api/audits/{good.name}")["findings"][0]["beside_row"] is None
    shutil.rmtree(bad)


def test_two_trainings_get_two_names(served: Served) -> None:
    form = {"network": "lenet", "data": "digits", "keys": {"epochs": "5000", "threads": "1"}}
    first, second = (served.post("/api/trainings", **form) for _ in range(2))
    try:
        assert first["name"] != second["name"]
    finally:
        for each in (first, second):
            served.post(f"/api/commands/{each['number']}/stop")
            assert served.wait(each["number"])["state"] == "stopped"
            shutil.rmtree(served.studio.runs_dir / each["name"], ignore_errors=True)


def test_modules_of_the_folder_are_not_imported(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "csv.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    plan = served.wait(served.post("/api/plan", network="lenet", data="digits")["number"])
    assert plan["state"] == "done", plan


def test_a_program_that_trains_in_a_thread_is_not_stopped(served: Served) -> None:
    half = Run(served.studio.runs_dir / "half")
    refusals = []

    def train() -> None:
        with half.lock():
            refusals.append(served.refusal("POST", "/api/runs/half/stop")[1])

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert "a program of yours trains it" in refusals[0]


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_the_verb_names_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lenext.exporting.extras.is_installed", lambda name: name != package)
    assert run_command(["studio", "--no-browser", f"--runs-dir={tmp_path / 'runs'}"]) == 2
    assert f'{package} is not installed; pip install "lenext[studio]"' in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
