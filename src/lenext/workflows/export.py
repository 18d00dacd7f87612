"""`export`: a trained network as one file that other programs run, verified before it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from lenext.data import shown_source
from lenext.data.preprocessing import Preprocessing
from lenext.exporting.engines import Session, open_onnxruntime, open_openvino, versions_of_export
from lenext.exporting.extras import is_installed
from lenext.exporting.formats import TOLERANCES, Candidate, Format, make_candidate, open_exported
from lenext.exporting.onnx_file import Facts, serialize, sign, weights_digest
from lenext.exporting.quantization import Gate, measure_gate, quantize
from lenext.exporting.repositories import MODEL, NEXT, VERSION, Server, repository_files
from lenext.exporting.self_test import SelfTest
from lenext.exporting.verification import Verification, VerificationError, prepared_session, verify
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import expand_path, make_folder, provisional_folder, write_atomic
from lenext.foundation.settings import convert
from lenext.reporting.console import Console, open_console
from lenext.reporting.model_card import CardFacts, write_card
from lenext.reporting.redaction import redact_paths
from lenext.runs.folder import Run
from lenext.runs.layout import SELF_TEST_SUFFIX
from lenext.workflows.context import Context
from lenext.workflows.export_source import Source, choose_path, choose_repository, open_source
from lenext.workflows.open_weights import StoredWeights
from lenext.workflows.report import Report

CARD = "MODEL_CARD.md"
UNVERIFIED = "nothing: exported with --unverified"


@dataclass(frozen=True)
class Exported:
    """A file that was exported.

    Attributes:
        path: The file.
        card: The model card beside it.
        facts: What the file says about itself.
        verification: What was compared; None with `unverified`.
    """

    path: Path
    card: Path
    facts: Facts
    verification: Verification | None


def export(
    model: str | Path | Run | nn.Module,
    *,
    out: str | Path = "",
    format: Format = "onnx",
    server: Server | None = None,
    network_only: bool = False,
    int8: bool = False,
    weights: StoredWeights | None = None,
    network: nn.Module | str = "",
    pretrained: bool = False,
    classes: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    verify_with: str | Path = "",
    unverified: bool = False,
    licence: str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool | Console = False,
) -> Exported:
    """Write a trained network with its preprocessing as one file, after comparing its answers with `predict`.

    The file takes `pixels`, uint8 (N, C, H, W), any batch, height and width, and gives `probabilities` and `logits`.

    Args:
        model: A run, its folder, a file of weights, the name of a network with `pretrained`, or any module.
        out: The file; by default in the run's folder `exports`, beside the weights, or in the working folder.
        format: `onnx`, `openvino` (an .xml and a .bin) or `pt2` (torch.export).
        server: `triton`, `ovms` or `kserve`: `out` is then a folder, the model repository of such a server, which
            gets the ONNX file and what the server needs beside it.
        network_only: Whether preprocessing is left out, for services that do it themselves.
        int8: Whether the network is quantized; the file is written only if it stays as good and becomes faster here.
        weights: Which of a run's weights; None for the best.
        network: The user's own network, when the weights are of one.
        pretrained: Whether the published weights of a network are exported.
        classes: Names of the classes of a module.
        preprocessing: Of a module.
        verify_with: A folder of images to verify with, instead of the run's validation images.
        unverified: Whether nothing is compared, which is written into the file.
        licence: Of the weights, in words or an SPDX identifier.
        data_dir: Where published data are; None for the run's own folder.
        offline: Whether the network must not be used.
        quiet: Whether nothing is printed; or the console to print to.

    Raises:
        VerificationError: Answers differ; nothing is written.
        LenextError: The network cannot be exported, or there are no images to verify with.
    """
    convert("format", format, Format)
    convert("server", server, Server | None)
    if server and format != "onnx":
        raise ConfigurationError(f"format={format}: a model repository for {server} has ONNX; leave the format out")
    if int8 and (unverified or verify_with or network_only or format != "onnx"):
        raise ConfigurationError(
            "int8: it is ONNX, from pixels, judged on the validation images; leave other options out"
        )
    if unverified and verify_with:
        raise ConfigurationError("unverified: nothing is compared, so verify_with has no effect; leave one of them out")
    with open_console(quiet) as console:
        source = open_source(
            model, weights, network, pretrained, classes, preprocessing, str(verify_with), unverified,
            Context(data_dir, offline),
        )  # fmt: skip
        name = source.name + ("-int8" if int8 else "")
        if server:
            repository = choose_repository(source, str(out), f"{name}-{server}")
            path = repository / name / VERSION / MODEL
        else:
            path = choose_path(model, source, str(out), format, name)
        console.print(f"exporting {source.name} to {path}")
        prepare = source.description.preprocessing
        candidate = make_candidate(format, source.network, prepare, network_only=network_only)
        verification = None if unverified else check(candidate, source, network_only=network_only)
        checked = f"{source.images}, by {candidate.engine}: {verification.describe()}" if verification else UNVERIFIED
        console.print(f"verified: {checked}")
        if server in ("ovms", "kserve") and verification:
            by_openvino = check_with_openvino(candidate, source, network_only=network_only)
            console.print(by_openvino)
            checked += f"; {by_openvino}"
        facts = collect_facts(source, verification, network_only=network_only, licence=licence)
        if int8:
            console.print("quantizing to int8, and measuring accuracy and time")
            candidate, gate = quantize_candidate(candidate, source)
            checked = f"int8: {gate.describe()}"
            console.print(checked)
            facts = replace(facts, verification=gate.to_metadata())
        exported = write(candidate, path, source, facts, verification, checked)
        if server:
            for each, content in repository_files(server, name, facts).items():
                write_atomic(repository / each, content)
            console.print(f"model repository for {server}: {repository}; next: {NEXT[server]}")
        console.print(f"{path.stat().st_size / 1e6:,.2f} MB; model card: {exported.card}")
    return exported


def check_with_openvino(candidate: Candidate, source: Source, *, network_only: bool) -> str:
    """Compare an ONNX model, as OpenVINO runs it, with its network, and return the result in words.

    Raises:
        VerificationError: They differ.
    """
    if not is_installed("openvino"):
        return "not compared by OpenVINO, which runs it there: it is not installed here"
    session = open_openvino(serialize(candidate.model))
    verification = check(replace(candidate, session=session, engine="openvino"), source, network_only=network_only)
    return f"by openvino: {verification.describe()}"


def check(candidate: Candidate, source: Source, *, network_only: bool) -> Verification:
    """Compare a model with its network. Raises VerificationError where they differ."""
    prepare = source.description.preprocessing
    session: Session = prepared_session(candidate.session, prepare) if network_only else candidate.session
    assert source.split is not None
    tolerance = TOLERANCES[candidate.engine]
    verification = verify(session, source.network, prepare, source.description.classes, source.split, tolerance)
    if not verification.holds:
        changed = "".join(f"; {name}: {before} became {after}" for name, before, after in verification.changed[:5])
        raise VerificationError(
            f"export: not written, as {candidate.engine} answers otherwise: {verification.describe()}{changed}"
        )
    return verification


def collect_facts(source: Source, verification: Verification | None, *, network_only: bool, licence: str) -> Facts:
    """Return what the file says about itself."""
    run, network = source.run, source.description.network
    split = run.read_json("split.json") if run else {}
    return Facts(
        description=replace(source.description, network=redact_paths(network)),
        network_only=network_only,
        weights_sha256=weights_digest(source.network),
        recipe=redact_paths(run.experiment.to_yaml()) if run else "",
        fingerprints=split.get("fingerprints", {}),
        versions=versions_of_export(),
        licence=licence,
        verification=verification.to_metadata() if verification else {"unverified": True},
    )


def write(
    candidate: Candidate,
    path: Path,
    source: Source,
    facts: Facts,
    verification: Verification | None,
    checked: str,
) -> Exported:
    """Write the file, its self-test and its card; after an error nothing new is left."""
    beside = path.with_name(path.name + SELF_TEST_SUFFIX)
    is_default = bool(source.run) and path.parent.name == "exports" and not checked.startswith("int8")
    card = path.with_name(CARD if is_default else f"{path.stem}-{CARD}")
    test = (
        None if source.split is None or path.suffix == ".pt2" else SelfTest.make(candidate.session, facts, source.split)
    )
    files = {path, beside, card} | ({path.with_suffix(".bin")} if path.suffix == ".xml" else set())
    new = {each for each in files if not each.exists()}
    facts_of_card = card_facts(source, checked)
    with provisional_folder(path.parent):
        make_folder(path.parent)
        try:
            beside.unlink(missing_ok=True)  # that of an earlier file
            if test:
                test.save(beside, facts)
            candidate.write(path, facts)
            write_atomic(card, write_card(path, facts, facts_of_card))
        except BaseException:
            for each in new:
                each.unlink(missing_ok=True)
            raise
    return Exported(path, card, facts, verification)


def quantize_candidate(candidate: Candidate, source: Source) -> tuple[Candidate, Gate]:
    """Return a model in int8, and what decided for it.

    Raises:
        ConfigurationError: There are no labelled validation images.
        VerificationError: It is not as good, or not faster here.
    """
    data = source.opened.data if source.opened else None
    if data is None or data.validation is None or candidate.model is None:
        raise ConfigurationError("int8: it is judged on a run's validation images, and here are none")
    model = quantize(candidate.model, data.train)
    gate = measure_gate(candidate.model, model, data.validation)
    if gate.refusal:
        raise VerificationError(f"int8: not written: {gate.refusal}; {gate.describe()}")
    session = open_onnxruntime(model.SerializeToString())
    return Candidate(session, "onnxruntime", lambda path, facts: write_atomic(path, sign(model, facts)), model), gate


def card_facts(source: Source, checked: str) -> CardFacts:
    """Return what the card says beyond the facts in the file."""
    opened, parameters = source.opened, sum(weight.numel() for weight in source.network.parameters())
    if opened is None:
        return CardFacts(source.name, parameters, "not known here", {}, [], [], checked)
    run, results = opened.run, opened.run.results
    report = Report(opened)
    sizes = ", ".join(f"{count:,} {name}" for name, count in run.read_json("split.json").get("samples", {}).items())
    notices = report.part("notices", report.notices, [])
    is_measured = source.is_best and not checked.startswith("int8")
    if not is_measured:
        notices.append("the run's figures are of its best weights in fp32, not of this file, so they are left out")
    tta = run.experiment.recipe.tta
    if tta != "none":
        notices.append(f"the test accuracy is that of several views of an image (tta={tta}); this file computes one")
    return CardFacts(
        title=f"{source.description.network or source.name} on {shown_source(run.experiment.data)}",
        parameters=parameters,
        data=f"{shown_source(run.experiment.data)}: {sizes} images",
        metrics={name: results.get(name) for name in ("test", "validation")} if is_measured else {},
        by_class=results.get("classes", []) if is_measured else [],
        notices=notices,
        verification=checked,
    )


def check_export(path: str | Path, *, engine: str = "auto", quiet: bool = False) -> float:
    """Repeat the self-test of an exported file, and return the largest difference of a probability.

    Args:
        path: The file; its self-test is next to it.
        engine: What runs it.
        quiet: Whether nothing is printed.

    Raises:
        VerificationError: The answers differ from those of the machine that exported it.
        RunError: The file or its self-test is missing, or was changed.
    """
    path = expand_path(path)
    session, facts, choice = open_exported(path, engine)  # type: ignore[arg-type]
    beside = path.with_name(path.name + SELF_TEST_SUFFIX)
    if not beside.is_file():
        raise RunError(f"{beside}: the self-test is missing; copy it together with the file")
    tolerance = TOLERANCES[choice.engine]
    test = SelfTest.load(beside, facts)
    largest = test.check(session, facts, tolerance)
    with Console(quiet) as console:
        console.print(
            f"{path.name} by {choice}: {len(test.pixels)} images, largest difference of a probability {largest:.1e} "
            f"(allowed {tolerance:.0e})"
        )
    return largest
