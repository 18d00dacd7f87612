"""A Sphinx extension that writes the reference from lenext itself: verbs, recipe keys, networks, Python names.

The pages go to docs/reference/generated/, which is not committed: they cannot differ from the code.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from papers import PAPERS
from sphinx.application import Sphinx

import lenext
from lenext.cli import load_verbs
from lenext.cli.app import app as command_line
from lenext.models import FAMILIES
from lenext.models.variant import SET_BY_DATA, Variant
from lenext.training.recipe import GROUPS, Recipe
from lenext.training.recipes import OF_NETWORKS
from lenext.verbs import VERBS
from lenext.workflows import show

PYTHON_GROUPS: dict[str, Sequence[str]] = {
    "Train": ("train", "resume", "fit", "events", "evaluate", "find_learning_rate", "lr_find"),
    "Networks": ("create", "summary", "summarize", "diagram"),
    "Data": ("load", "audit"),
    "Use a run": ("val", "predict", "explain", "explore", "report", "checks", "timed"),
    "Export": ("export", "check_export"),
    "Compare": ("compare", "race", "vary", "lesson", "reproduce"),
}
PYTHON_CLASSES = ("Run", "Dataset", "Split", "Recipe", "Experiment", "Record", "Step", "TrainingState")
PYTHON_DATA = ("MODELS", "DATASETS", "RECIPES")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("builder-inited", lambda app: write_reference(Path(app.srcdir) / "reference" / "generated"))
    return {"parallel_read_safe": True}


def write_reference(folder: Path) -> None:
    """Write all generated pages."""
    for kind in ("verbs", "networks", "python"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    write_verbs(folder / "verbs")
    write_networks(folder / "networks")
    write(folder / "recipe.md", recipe_page())
    write_python(folder / "python")


def write(path: Path, text: str) -> None:
    """Write a page if it changed, so that Sphinx reads only what is new."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def toctree(names: Iterable[str]) -> str:
    """Format a hidden table of contents, for the sidebar."""
    return "```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"


def write_verbs(folder: Path) -> None:
    """Write a page for each verb of the command line, from its own declaration."""
    load_verbs(*VERBS)
    for name in VERBS:
        text = command_line[name].generate_docs(usage_name=f"lenext {name}")
        text = re.sub(r" \*\[default: (\"\"|False)\]\*", "", text)
        text = re.sub(r"^\*\*(.+)\*\*:$", r"## \1", text, flags=re.MULTILINE)
        write(folder / f"{name}.md", text)
    rows = [(f"[`lenext {name}`](verbs/{name}.md)", verb.about) for name, verb in VERBS.items()]
    intro = "# Command line\n\nThe verbs are also functions [in Python](python.md).\n\n"
    write(
        folder.parent / "verbs.md", intro + table(["verb", "task"], rows) + "\n" + toctree(f"verbs/{n}" for n in VERBS)
    )


def recipe_page() -> str:
    """Return the page of all recipe keys, by group."""
    hints = get_type_hints(Recipe)
    text = "# Recipe keys\n\nEach key is an option of `lenext train`, a YAML key and an argument of `Recipe`.\n"
    for title, group in GROUPS.items():
        rows = [
            (
                f"`{field.name}`",
                f"`{field.default}`",
                field.metadata["limits"] or choices(hints[field.name]),
                field.metadata["about"],
            )
            for field in dataclasses.fields(group)
        ]
        text += f"\n## {title}\n\n" + table(["key", "default", "values", "meaning"], rows)
    text += "\n## Recipes of the networks\n\n"
    text += "`lenext train NETWORK` uses these keys, unless an option or `--recipe` sets them.\n\n"
    rows = [
        (f"[`{name}`](networks/{name}.md)", ", ".join(f"`{key}={value}`" for key, value in keys.items()))
        for name, keys in OF_NETWORKS.items()
    ]
    return text + table(["network", "keys"], rows)


def choices(kind: Any) -> str:
    """Return the values that a type allows, in words."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {choices(get_args(kind)[0])}"
    if get_args(kind):
        return ", ".join(choices(member) for member in get_args(kind))
    return {bool: "`yes`, `no`", int: "integer", float: "number", str: "text"}.get(kind, kind.__name__)


def write_networks(folder: Path) -> None:
    """Write a page for each variant, and one that lists them by family."""
    text = (
        "# Networks\n\nEvery network takes any number of channels and classes, and any image size at which it works.\n"
    )
    pages = []
    for family, variants in FAMILIES.items():
        module = inspect.getdoc(import_module(f"lenext.models.{family}")) or ""
        text += f"\n## {module.splitlines()[0].rstrip('.')}\n\n" if module else f"\n## {family}\n\n"
        rows = []
        for name, variant in variants.items():
            page, facts = network_page(name, variant, folder)
            write(folder / f"{name}.md", page)
            pages.append(f"networks/{name}")
            rows.append((f"[`{name}`](networks/{name}.md)", *facts))
        text += table(["name", "input", "parameters", "multiply-adds", "kind", "published weights"], rows)
    write(folder.parent / "networks.md", text + "\n" + toctree(pages))


def network_page(name: str, variant: Variant, folder: Path) -> tuple[str, Sequence[str]]:
    """Return the page of a variant, and its cells in the list."""
    layers = lenext.summary(name, by="block")
    summary = layers.summary
    shape = " x ".join(map(str, summary.input_shape))
    (folder / f"{name}.svg").write_text(lenext.diagram(name).svg, encoding="utf-8")
    options = {key: option for key, option in variant.parameters().items() if key not in SET_BY_DATA}
    facts = {
        "Source": describe_source(variant.source),
        "Kind": variant.kind,
        "Design size": f"{shape}",
        "Parameters": f"{summary.parameters:,}",
        "Multiply-adds": f"{summary.multiply_adds:,}",
        "Published weights": f"ImageNet, {variant.shorter_side} px, torchvision's `{variant.weights}`"
        if variant.weights
        else "none",
    }
    rows = layers.rows()
    text = f'# {name}\n\n```python\nnetwork = lenext.create("{name}")\n```\n\n'
    text += f"```\nlenext train {name} --data photos/\n```\n\n"
    text += table(["property", "value"], facts.items()) + "\n"
    if options:
        text += "## Options\n\nSet with `--option KEY=VALUE`, or as arguments of `lenext.create`.\n\n"
        text += table(
            ["option", "default", "values"],
            ((f"`{k}`", f"`{o.default}`", choices(o.annotation)) for k, o in options.items()),
        )
    text += (
        "\n## Layers\n\n" + table(list(rows[0]), ([format_cell(cell) for cell in row.values()] for row in rows)) + "\n"
    )
    text += f"## Diagram\n\n```{{image}} {name}.svg\n:alt: Diagram of {name}\n:class: diagram\n```\n\n"
    papers = [PAPERS[paper] for paper in re.split("; ", variant.source) if paper in PAPERS]
    if papers:
        text += "## How to cite\n\n```bibtex\n" + "\n\n".join(papers) + "\n```\n"
    weights = "yes" if variant.weights else ""
    return text, (shape, f"{summary.parameters:,}", f"{summary.multiply_adds:,}", variant.kind, weights)


def format_cell(cell: object) -> str:
    """Format a figure of the layer table."""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def describe_source(source: str) -> str:
    """Return a source with links to arXiv and to the glossary's list of documents."""
    linked = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)
    return re.sub(r"\bD([0-4])\b", r"[D\1](../../../glossary.md#the-course-documents)", linked)


def write_python(folder: Path) -> None:
    """Write a page for each group of public names, which Sphinx fills from their docstrings, and a list of all."""
    functions = {title: [f"lenext.{name}" for name in names] for title, names in PYTHON_GROUPS.items()}
    functions["Show"] = [f"lenext.workflows.show.{name}" for name in show.__all__]
    pages = {title: "".join(directive("autofunction", name) for name in names) for title, names in functions.items()}
    pages["Show"] = f"Figures, as `lenext show` draws them: `lenext.show.confusion(run)`.\n\n{pages['Show']}"
    classes = "".join(directive("autoclass", f"lenext.{name}", ":members:") for name in PYTHON_CLASSES)
    pages["Classes"] = classes + directive("autoexception", "lenext.LenextError")
    listed = {**functions, "Classes": [f"lenext.{name}" for name in (*PYTHON_CLASSES, "LenextError")]}
    text = "# Python\n\n`import lenext` imports nothing heavy; each name loads its module on first use.\n"
    for title, content in pages.items():
        file = title.lower().replace(" ", "-")
        write(folder / f"{file}.md", f"# {title}\n\n{content}")
        rows = [(f"[`{name.replace('workflows.', '')}`](python/{file}.md)", summary_of(name)) for name in listed[title]]
        text += f"\n## {title}\n\n{table(['name', 'task'], rows)}"
    text += "\n## Registries\n\n"
    text += table(["name", "content"], [(f"`lenext.{name}`", describe_registry(name)) for name in PYTHON_DATA])
    write(folder.parent / "python.md", text + "\n" + toctree(f"python/{t.lower().replace(' ', '-')}" for t in pages))
    documented = {name for names in PYTHON_GROUPS.values() for name in names}
    documented |= {*PYTHON_CLASSES, *PYTHON_DATA, "LenextError", "show", "__version__"}
    if missing := set(lenext.__all__) - documented:
        raise RuntimeError(f"docs/_ext/lenext_reference.py: name the section of {', '.join(sorted(missing))}")


def directive(kind: str, name: str, option: str = "") -> str:
    """Return a directive of Sphinx that documents a name."""
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{f'   {option}' if option else ''}\n```\n\n"


def summary_of(name: str) -> str:
    """Return the first sentence of a name's docstring."""
    module, _, attribute = name.rpartition(".")
    return (inspect.getdoc(getattr(import_module(module), attribute)) or "").partition("\n")[0]


def describe_registry(name: str) -> str:
    """Return what a registry maps from and to."""
    registry: Mapping[str, Any] = getattr(lenext, name)
    return f"{len(registry)} names, from `{next(iter(registry))}`"
