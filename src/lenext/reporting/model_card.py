"""The model card beside an exported file: what it is, how good, what to know, how to use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenext.exporting.onnx_file import Facts, describe_preprocessing
from lenext.foundation.intervals import format_interval, wilson_interval
from lenext.reporting.page import render

MAX_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class CardFacts:
    """The content of a card, beyond the facts in the file.

    Attributes:
        title: Heading.
        parameters: Number of parameters.
        data: The data that it was trained on, and how they were split.
        metrics: `accuracy` and `samples` by split, as in results.json.
        by_class: images, precision and recall of each class on the test set.
        notices: What the report noticed.
        verification: In a line.
    """

    title: str
    parameters: int
    data: str
    metrics: Mapping[str, Any]
    by_class: Sequence[Mapping[str, Any]]
    notices: Sequence[str]
    verification: str


def write_card(path: Path, facts: Facts, card: CardFacts) -> str:
    """Return the text of a card, in Markdown.

    Args:
        path: The exported file, which exists.
        facts: What it says about itself.
        card: The rest.
    """
    description, prepare = facts.description, facts.description.preprocessing
    shown = ", ".join(description.classes[:MAX_CLASSES_SHOWN])
    hidden_classes = len(description.classes) - MAX_CLASSES_SHOWN
    height, width = prepare.image_size
    channels = prepare.input_shape[0] if facts.network_only else prepare.channels
    return render(
        "model_card.md",
        title=plain(card.title),
        classes=description.classes,
        shown_classes=plain(shown + (f" and {hidden_classes} more" if hidden_classes > 0 else "")),
        file=path.name,
        size=f"{path.stat().st_size / 1e6:,.2f} MB",
        format=path.suffix.lstrip("."),
        network=plain(description.network or "made in Python"),
        parameters=f"{card.parameters:,}",
        data=plain(card.data),
        versions=", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        licence=plain(facts.licence),
        weights_sha256=facts.weights_sha256,
        accuracy=describe_accuracy(card.metrics),
        by_class=[format_class(row) for row in card.by_class],
        notices=[plain(notice[:1].upper() + notice[1:]).rstrip(".") for notice in card.notices],
        steps=describe_preprocessing(prepare)["steps"],
        network_only=facts.network_only,
        verification=plain(card.verification),
        mode="L" if prepare.channels == 1 else "RGB",
        input="images" if facts.network_only else "pixels",
        channels=channels,
        cpp_size=f"{height}, {width}" if facts.network_only else "height, width",
        cpp_type="float" if facts.network_only else "uint8_t",
        python_input=python_input(facts),
        javascript_input=javascript_input(facts),
    )


def plain(text: str) -> str:
    """Return text of other people as one line that cannot end a cell of a table or begin HTML."""
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return " ".join(escaped.split())


def describe_accuracy(metrics: Mapping[str, Any]) -> str:
    """Return the accuracies with their intervals, a sentence each."""
    sentences = [
        f"Accuracy on {values['samples']:,} {name} images: {values['accuracy']:.2%} "
        f"({format_interval(values['accuracy'], values['samples'])})."
        for name, values in metrics.items()
        if values and values.get("samples")
    ]
    return " ".join(sentences) or "It was not measured here."


def format_class(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a class, with the interval of its recall."""
    images, recall = int(row["images"]), float(row["recall"])
    low, high = wilson_interval(recall, images) if images else (0.0, 1.0)
    return {
        "class": plain(str(row["class"])),
        "images": f"{images:,}",
        "precision": f"{float(row['precision']):.1%}",
        "recall": f"{recall:.1%}",
        "interval": f"{low:.1%} to {high:.1%}",
    }


def python_input(facts: Facts) -> str:
    """Return the lines of Python that make the input of an image."""
    prepare = facts.description.preprocessing
    shape = "[None, None]" if prepare.channels == 1 else "[None]"
    turned = "" if prepare.channels == 1 else ".transpose(2, 0, 1)"
    if not facts.network_only:
        return f"pixels = numpy.array(image){turned}{shape}"
    height, width = prepare.image_size
    mean, std = (list(values) for values in (prepare.normalization.mean, prepare.normalization.std))
    return (
        f"pixels = numpy.array(image.resize(({width}, {height}))){turned}{shape} / 255  # and the steps above\n"
        f"pixels = (pixels - numpy.reshape({mean}, (-1, 1, 1))) / numpy.reshape({std}, (-1, 1, 1))\n"
        f"pixels = numpy.broadcast_to(pixels, (1, {prepare.input_shape[0]}, {height}, {width})).astype(numpy.float32)"
    )


def javascript_input(facts: Facts) -> str:
    """Return the lines of JavaScript that make the input of an image."""
    channels = facts.description.preprocessing.channels
    if facts.network_only:
        return "const pixels = prepare(rgba);  // a Float32Array by the steps above"
    value = (
        "(rgba[4 * i] * 19595 + rgba[4 * i + 1] * 38470 + rgba[4 * i + 2] * 7471 + 32768) >> 16"
        if channels == 1
        else "rgba[4 * i + c]"
    )
    return (
        f"const data = new Uint8Array({channels} * image.width * image.height);\n"
        f"for (let c = 0, k = 0; c < {channels}; c++)\n"
        f"  for (let i = 0; i < image.width * image.height; i++, k++) data[k] = {value};\n"
        f'const pixels = new ort.Tensor("uint8", data, [1, {channels}, image.height, image.width]);'
    )
