"""What the service answers: as `predict` does, by every way in; and what it refuses, in a line."""

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lenext
from lenext.data.images import FORMATS
from lenext.exporting.verification import MODES, as_file
from lenext.runs.predict import Prediction
from lenext.serving.openapi import describe_service
from tests.serving.conftest import ANIMALS, Service, make_image

TOLERANCE = 1e-5
BOUNDARY = "a-boundary"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def form(*files: tuple[str, bytes], field: str = "") -> bytes:
    """The body of a form with files, and perhaps a field."""
    parts = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    if field:
        parts.append(f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n3\r\n'.encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def check(answers: list[dict[str, Any]], expected: list[Prediction]) -> None:
    """Check that answers are those of `predict`."""
    assert len(answers) == len(expected)
    for answer, prediction in zip(answers, expected, strict=True):
        assert tuple(answer["classes"]) == prediction.classes
        assert answer["probabilities"] == pytest.approx(prediction.probabilities, abs=TOLERANCE)
        assert tuple(answer["remarks"]) == prediction.remarks


def predict(models: Path, name: str, folder: Path, *images: bytes, **options: Any) -> list[Prediction]:
    """What `lenext predict` says in fp32."""
    paths = []
    for place, image in enumerate(images):
        paths.append(folder / f"{place:03d}.img")
        paths[-1].write_bytes(image)
    found = lenext.predict(models / f"{name}.safetensors", *paths, precision="fp32", **options)
    return [each for each in found if isinstance(each, Prediction)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", ["digits", "animals"])
def test_images_of_every_mode_and_odd_sizes_are_answered_as_by_predict(
    service: Service, models: Path, tmp_path: Path, model: str, mode: str
) -> None:
    images = []
    for place, (height, width) in enumerate(((28, 28), (1, 5), (47, 61), (300, 210))):
        source = Image.open(io.BytesIO(make_image(height, width, "RGB", seed=place)))
        images.append(as_file(source, mode).getvalue())
    expected = predict(models, model, tmp_path, *images, top=3)
    for image, prediction in zip(images, expected, strict=True):
        check(service.get(f"/predict?model={model}&top=3", image, content_type="image/png"), [prediction])


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read(service: Service, models: Path, tmp_path: Path, format: str) -> None:
    image = make_image(200, 300, "RGB", format)
    check(service.get("/predict?model=animals", image), predict(models, "animals", tmp_path, image))


def test_a_turned_photograph_is_upright(service: Service, models: Path, tmp_path: Path) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(make_image(40, 90, "RGB"))).save(file, "JPEG", exif=exif)
    check(service.get("/predict?model=animals", file.getvalue()), predict(models, "animals", tmp_path, file.getvalue()))


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("top=10", {"top": 10}), ("top=99", {"top": 99}), ("digit=yes", {"digit": True}), ("digit=1", {"digit": True}),
        ("invert=auto&top=2", {"invert": "auto", "top": 2}),
        ("invert=yes", {"invert": "yes"}), ("fit=pad", {"fit": "pad"}),
        ("fit=stretch", {"fit": "stretch"}), ("digit=false", {}),
    ],
)  # fmt: skip
def test_options_do_what_those_of_predict_do(
    service: Service, models: Path, tmp_path: Path, query: str, options: dict[str, Any]
) -> None:
    image = make_image(60, 90)
    check(service.get(f"/predict?{query}", image), predict(models, "digits", tmp_path, image, **options))


def test_several_images_come_in_a_form_or_as_base64(service: Service, models: Path, tmp_path: Path) -> None:
    images = [make_image(20 + 9 * place, 33, seed=place) for place in range(20)]
    expected = predict(models, "digits", tmp_path, *images)
    named = [(f"{place}.png", each) for place, each in enumerate(images)]
    answers = service.get("/predict", form(*named), content_type=MULTIPART)
    check(answers, expected)
    assert [each["path"] for each in answers] == [f"{place}.png" for place in range(20)]
    texts = json.dumps([base64.b64encode(each).decode() for each in images]).encode()
    check(service.get("/predict", texts, content_type="application/json"), expected)


def test_an_exported_file_answers_as_its_weights(service: Service, models: Path, tmp_path: Path) -> None:
    for image in (make_image(), make_image(90, 40), make_image(600, 500, "RGB", "JPEG")):
        check(service.get("/predict?model=exported&top=10", image), predict(models, "digits", tmp_path, image, top=10))


def test_the_answer_names_the_model_and_its_version(service: Service) -> None:
    _, headers, _ = service.ask("/predict?model=animals", make_image())
    _, default, _ = service.ask("/predict", make_image())
    _, exported, _ = service.ask("/predict?model=exported", make_image())
    assert (headers["x-model"], default["x-model"]) == ("animals", "digits")
    assert default["x-model-version"] == exported["x-model-version"] != headers["x-model-version"]
    assert service.get("/v2/models/digits")["versions"] == [default["x-model-version"]]


def test_names_of_classes_and_files_keep_their_letters(service: Service) -> None:
    answer = service.get("/predict?model=animals&top=3", form(("Größe .png", make_image())), content_type=MULTIPART)
    assert sorted(answer[0]["classes"]) == sorted(ANIMALS)
    assert answer[0]["path"] == "Größe .png"


def test_grad_cam_is_that_of_explain(service: Service, models: Path) -> None:
    import torch

    from lenext.data.images import read_image
    from lenext.inspection.explain import grad_cam
    from lenext.workflows.open_weights import open_weights

    image = make_image(50, 50)
    answer = service.get("/predict?explain=gradcam", image)[0]
    assert answer["explanation"]["class"] == answer["classes"][0]
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["explanation"]["png"]))))
    network, description = open_weights(models / "digits.safetensors")
    path = models / "explained.png"
    path.write_bytes(image)
    stored = torch.from_numpy(np.ascontiguousarray(read_image(path, 1, (28, 28))[None]))
    expected = grad_cam(network.eval(), description.preprocessing(stored), torch.tensor([int(answer["classes"][0])]))
    assert np.abs(found - 255 * expected[0].numpy()).max() <= 1
    assert service.refusal("/predict?explain=gradcam&model=exported", image)[1].startswith(
        "explain=gradcam: model exported"
    )


REFUSED = [
    ("/predict", b"", {}, 400, "no image"),
    ("/predict", b"text", {}, 400, "image: not an image of the formats"),
    ("/predict", make_image(300, 300, format="JPEG")[:1500], {}, 400, "image: a broken image"),
    ("/predict", make_image(), {"content_type": "text/plain"}, 415, "content-type: text/plain"),
    ("/predict", b"[", {"content_type": "application/json"}, 400, "no JSON"),
    ("/predict", b"{}", {"content_type": "application/json"}, 400, "a list of images"),
    ("/predict", b"[3]", {"content_type": "application/json"}, 400, "a list of images"),
    ("/predict", b"[]", {"content_type": "application/json"}, 400, "no image"),
    ("/predict", b'["%%"]', {"content_type": "application/json"}, 400, "image 1: not base64"),
    ("/predict", b'["' + b"A" * 8 + b'"]', {"content_type": "application/json"}, 400, "image 1: not an image"),
    ("/predict", b"[" * 100_000, {"content_type": "application/json"}, 400, "no JSON"),
    ("/predict", json.dumps([""] * 65).encode(), {"content_type": "application/json"}, 400, "at most 64"),
    ("/predict", b"--x--", {"content_type": "multipart/form-data"}, 400, "the form cannot be read"),
    ("/predict", b"x", {"content_type": "multipart/form-data; boundary=x"}, 400, "the form cannot be read"),
    ("/predict", form(field="top"), {"content_type": MULTIPART}, 400, "a field 'top'"),
    ("/predict", form(*[("a", b"")] * 65), {"content_type": MULTIPART}, 400, "more than 64"),
    ("/predict", form(("bad\x1b.png", b"text")), {"content_type": MULTIPART}, 400, "not an image"),
    ("/predict?tpo=3", make_image(), {}, 400, "did you mean 'top'?"),
    ("/predict?top=0", make_image(), {}, 400, "top=0"),
    ("/predict?top=1.5", make_image(), {}, 400, "top=1.5"),
    ("/predict?top=" + "9" * 5000, make_image(), {}, 400, "top=9"),
    ("/predict?top=1&top=2", make_image(), {}, 400, "given twice"),
    ("/predict?explain=occlusion", make_image(), {}, 400, "gradcam"),
    ("/predict?digit=yes&fit=pad", make_image(), {}, 400, "digit: it sets"),
    ("/predict?fit=squeeze", make_image(), {}, 400, "fit=squeeze"),
    ("/predict?model=digit", make_image(), {}, 404, "did you mean 'digits'?"),
    ("/predict", make_image(), {"x_request_timeout": "soon"}, 400, "x-request-timeout"),
    ("/predict", make_image(), {"x_request_timeout": "nan"}, 400, "x-request-timeout"),
    ("/predict", make_image(), {"x_request_timeout": "-1"}, 400, "x-request-timeout"),
    ("/predict", None, {}, 405, "POST"),
    ("/nowhere", None, {}, 404, "no such address"),
    ("/static/../serve.html", None, {}, 404, "no such file"),
    ("/v2/models/cats", None, {}, 404, "no model 'cats'"),
    ("/v2/models/", None, {}, 404, "no model"),
    ("/v2/models/digits/versions/1", None, {}, 404, "no version 1"),
    ("/v2/models/digits/stats", None, {}, 404, "no such address"),
    ("/predict", make_image(), {"host": "evil.example"}, 403, "answers only as"),
    ("/predict", make_image(), {"sec_fetch_site": "cross-site"}, 403, "another site"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "headers", "status", "words"), REFUSED)
def test_what_is_wrong_is_refused_in_a_line(
    service: Service, path: str, body: bytes | None, headers: dict[str, str], status: int, words: str
) -> None:
    found, line = service.refusal(path, body, **headers)
    assert (found, words in line) == (status, True), line
    assert len(service.get("/predict", make_image())) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "GET"])
def test_other_methods_name_the_right_one(service: Service, method: str) -> None:
    status, headers, _ = service.ask("/predict", method=method)
    assert (status, headers["allow"]) == (405, "POST")


def test_a_bomb_is_refused_by_its_header(service: Service) -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    status, words = service.refusal("/predict", file.getvalue())
    assert (status, "too many pixels" in words) == (400, True), words


def test_a_body_that_is_too_large_is_refused_before_it_is_read(service: Service) -> None:
    assert service.refusal("/predict", b"x" * ((32 << 20) + 1))[0] == 413


def test_a_jpeg_of_thousands_of_scans_is_refused_and_usual_ones_are_read(service: Service) -> None:
    file = io.BytesIO()
    Image.new("L", (1024, 1024)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert service.get("/predict", content)
    last = content[content.rindex(b"\xff\xda") : -2]
    status, words = service.refusal("/predict", content[:-2] + last * 60_000 + content[-2:])
    assert (status, "more than 100 scans" in words) == (400, True), words


def test_a_long_thin_digit_is_answered_soon(service: Service) -> None:
    pixels = np.zeros((20_000, 100), np.uint8)
    pixels[0, 0] = pixels[-1, -1] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert service.ask("/predict?digit=yes", file.getvalue(), timeout=30)[0] in (200, 400)


HEAVY = [
    {"name": "images", "datatype": "BYTES", "data": ["aa=="], "shape": [64_000_000] * 110_000},
    {"name": "pixels", "datatype": "UINT8", "data": ["A" * 500_000] + [""] * 1000, "shape": [1, 1, 28, 28]},
    {"name": "pixels", "datatype": "UINT8", "data": [7] * 10_000_000, "shape": [1, 1, 28, 28]},
    {"name": "images", "datatype": "BYTES", "data": [""] * 900_000, "shape": [900_000]},
]


@pytest.mark.parametrize("tensor", HEAVY, ids=["shape", "texts", "values", "files"])
def test_what_would_take_minutes_to_read_is_refused_at_once(service: Service, tensor: dict[str, Any]) -> None:
    status, _, answer = service.ask("/v2/models/digits/infer", json.dumps({"inputs": [tensor]}).encode(), timeout=30)
    assert (status, b"error" in answer) == (400, True)


def test_a_long_list_is_counted_before_it_is_read(service: Service) -> None:
    body = json.dumps([""] * 3_000_000).encode()
    assert "3000000 images: at most 64" in service.refusal("/predict", body, content_type="application/json")[1]


def test_a_compressed_body_is_refused(service: Service) -> None:
    assert service.refusal("/predict", make_image(), content_encoding="gzip")[0] == 415
    assert service.get("/predict", make_image(), content_encoding="identity")


def infer(
    service: Service, content: Any, tail: bytes = b"", model: str = "digits", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    head = content if isinstance(content, bytes) else json.dumps(content).encode()
    if tail:
        headers["inference_header_content_length"] = str(len(head))
    return service.ask(f"/v2/models/{model}/infer", head + tail, content_type="application/json", **headers)


def pixels_of(images: list[bytes]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.stack([np.asarray(Image.open(io.BytesIO(each)).convert("L"))[None] for each in images])


def test_tensors_give_what_predict_gives(service: Service, models: Path, tmp_path: Path) -> None:
    images = [make_image(40, 50, seed=place) for place in range(3)]
    expected = predict(models, "digits", tmp_path, *images, top=10)
    pixels = pixels_of(images)
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape)}
    texts = [base64.b64encode(each).decode() for each in images]
    bodies: list[tuple[Any, bytes]] = [
        ({"inputs": [{**tensor, "data": pixels.tolist()}]}, b""),
        ({"inputs": [{**tensor, "data": pixels.ravel().tolist()}]}, b""),
        ({"inputs": [{**tensor, "parameters": {"binary_data_size": pixels.size}}]}, pixels.tobytes()),
        ({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [3], "data": texts}]}, b""),
        (
            {
                "inputs": [
                    {
                        "name": "images",
                        "datatype": "BYTES",
                        "shape": [3],
                        "parameters": {"binary_data_size": sum(map(len, images)) + 12},
                    }
                ]
            },
            b"".join(struct.pack("<I", len(each)) + each for each in images),
        ),
    ]
    for body, tail in bodies:
        status, _, content = infer(service, {"id": "seven", **body}, tail)
        answer = json.loads(content)
        assert (status, answer["id"], answer["model_name"]) == (200, "seven", "digits")
        outputs = {each["name"]: each for each in answer["outputs"]}
        assert outputs["probabilities"]["shape"] == [3, 10]
        assert outputs["class"]["data"] == [each.classes[0] for each in expected]
        rows = np.array(outputs["probabilities"]["data"]).reshape(3, 10)
        for row, prediction in zip(rows, expected, strict=True):
            by_class = dict(zip(prediction.classes, prediction.probabilities, strict=True))
            assert row == pytest.approx([by_class[name] for name in "0123456789"], abs=TOLERANCE)


def test_outputs_come_as_bytes_where_asked(service: Service) -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 1], "data": [7]}
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "class"}]
    status, headers, content = infer(service, {"inputs": [tensor], "outputs": wanted})
    split = int(headers["inference-header-content-length"])
    first, second = json.loads(content[:split])["outputs"]
    assert (status, first["parameters"], second["shape"]) == (200, {"binary_data_size": 40}, [1])
    assert np.frombuffer(content[split:], np.float32).sum() == pytest.approx(1, abs=1e-5)
    only = json.loads(infer(service, {"inputs": [tensor], "outputs": [{"name": "class"}]})[2])["outputs"]
    assert [each["name"] for each in only] == ["class"]


PIXELS = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 2, 2], "data": [1, 2, 3, 4]}
BAD_TENSORS = [
    ({}, "inputs"), ([], "inputs"), ({"inputs": []}, "inputs"), ({"inputs": [PIXELS, PIXELS]}, "inputs"),
    ({"inputs": [3]}, "the name must be"), ({"inputs": [{**PIXELS, "name": "x"}]}, "the name must be"),
    ({"inputs": [{**PIXELS, "datatype": "FP32"}]}, "UINT8"),
    ({"inputs": [{**PIXELS, "shape": [1, 3, 2, 2]}]}, "shape must be"),
    ({"inputs": [{**PIXELS, "shape": [1, 1, 2, -2]}]}, "shape must be"),
    ({"inputs": [{**PIXELS, "shape": "x"}]}, "shape must be"),
    ({"inputs": [{**PIXELS, "shape": [1, 1, 10**9, 10**9]}]}, "shape must be"),
    ({"inputs": [{**PIXELS, "shape": [1, 1, 20_000, 1]}]}, "shape must be"),
    ({"inputs": [{**PIXELS, "shape": [1, 1, True, 4]}]}, "shape must be"),
    ({"inputs": [{**PIXELS, "data": [1, 2, 3]}]}, "data must be"),
    ({"inputs": [{**PIXELS, "data": [1, 2, 3, 256]}]}, "data must be"),
    ({"inputs": [{**PIXELS, "data": [1, 2, 3, 4.5]}]}, "data must be"),
    ({"inputs": [{**PIXELS, "data": [[1, 2], [3]]}]}, "data must be"),
    ({"inputs": [{**PIXELS, "data": [1, 2, 3, 10**30]}]}, "data must be"),
    ({"inputs": [{**PIXELS, "data": None}]}, "data must be"),
    ({"inputs": [{**PIXELS, "shape": [65, 1, 1, 1], "data": [0] * 65}]}, "from 1 to 64"),
    ({"inputs": [{**PIXELS, "parameters": {"binary_data_size": 4}}]}, "binary_data_size"),
    ({"inputs": [{**PIXELS, "parameters": {"zoom": 4}}]}, "zoom has no effect"),
    ({"inputs": [PIXELS], "parameters": {"sequence_id": 4}}, "sequence_id has no effect"),
    ({"inputs": [PIXELS], "parameters": [4]}, "an object"), ({"inputs": [PIXELS], "id": 4}, "id: a text"),
    ({"inputs": [PIXELS], "outputs": [{"name": "logits"}]}, "there is no logits"),
    ({"inputs": [PIXELS], "outputs": 3}, "outputs"), ({"inputs": [PIXELS], "outputs": [3]}, "outputs"),
    ({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [2], "data": ["AAAA"]}]}, "shape [2]"),
    ({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": "AAAA"}]}, "base64"),
    ({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}]}, "image 1: not an image"),
    (b"\xff", "no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), BAD_TENSORS)
def test_tensors_that_are_wrong_are_refused_in_a_line(service: Service, content: Any, words: str) -> None:
    status, _, answer = infer(service, content)
    assert (status, words in json.loads(answer)["error"]) == (400, True), answer


def test_the_protocol_tells_about_server_and_models(service: Service) -> None:
    assert service.get("/v2")["name"] == "lenext"
    assert service.get("/v2/health/live") == {"live": True}
    assert service.get("/v2/health/ready") == {"ready": True}
    assert service.get("/v2/models") == {"models": ["digits", "animals", "exported"]}
    assert service.get("/v2/models/animals/ready") == {"name": "animals", "ready": True}
    described = service.get("/v2/models/animals")
    assert described["inputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 3, -1, -1]}]
    assert described["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    version = described["versions"][0]
    assert service.get(f"/v2/models/animals/versions/{version}") == described


def test_the_openapi_document_describes_what_there_is(service: Service) -> None:
    document = service.get("/openapi.json")
    assert document == json.loads(json.dumps(describe_service()))
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in ("get", "post"):
                continue
            status, headers, _ = service.ask(
                path.replace("{name}", "digits"), make_image() if method == "post" else None
            )
            answers = operation["responses"]
            assert str(status) in answers, path
            assert headers["content-type"].split(";")[0] in answers[str(status)]["content"], path
    status, headers, page = service.ask("/docs")
    assert (status, all(path.encode() in page for path in document["paths"])) == (200, True)
    assert "default-src 'none'" in headers["content-security-policy"]
    for path in ("/", "/static/serve.js", "/static/serve.css"):
        assert service.ask(path)[0] == 200
        assert service.ask(path, method="HEAD")[2] == b""


def test_the_metrics_are_the_clients_own_counts(service: Service) -> None:
    before = service.counts()
    asked = [("/predict", make_image(), 200)] * 30 + [("/predict", b"text", 400)] * 7 + [("/nowhere", None, 404)] * 3
    for path, body, status in asked:
        assert service.ask(path, body)[0] == status
    after = service.counts()
    found = {key: value - before.get(key, 0.0) for key, value in after.items()}
    assert found['lenext_requests_total{code="200",route="/predict"}'] == 30
    assert found['lenext_requests_total{code="400",route="/predict"}'] == 7
    assert found['lenext_requests_total{code="404",route="other"}'] == 3
    assert found['lenext_images_total{model="digits"}'] == 30
    assert found['lenext_request_seconds_count{route="/predict"}'] == 37
    assert after["lenext_workers"] == 2
