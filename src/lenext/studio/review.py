"""The review of an audit: a decision about each finding, kept in a file that `lenext train --corrections` reads."""

import csv
import io
import json
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from lenext.data import source_stem
from lenext.data.corrections import Correction, Decision, check_correction, format_corrections, read_corrections
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, DataError, RunError, unknown_name
from lenext.foundation.files import expand_path, make_folder, read_regular, write_atomic
from lenext.foundation.settings import convert
from lenext.reporting.page import MAX_PIXELATED_SIDE
from lenext.runs.folder import Run, modified_ns
from lenext.studio.commands import command_line
from lenext.studio.data_views import preview_network
from lenext.workflows.audit import COLUMNS, KINDS, OF_LABELS, rows_by_text
from lenext.workflows.prepare import absolute_path

AUDITS = "audits"  # the folder of audits, in that of the runs
SOURCE, FINDINGS, CORRECTIONS = "source.json", "audit.csv", "corrections.csv"
MAX_BYTES = 64 << 20


class Reviews:
    """The audits of a folder of runs."""

    def __init__(self, runs_dir: Path) -> None:
        self.folder = runs_dir / AUDITS
        self.lock = threading.Lock()

    def begin(self, source: str) -> Path:
        """Make the folder of a new audit of some data, and return it."""
        while True:  # another request may make the folder meanwhile
            path = Run.choose_folder(Run.path_for(self.folder, source_stem(source)), numbered=True)
            make_folder(path.parent)
            with suppress(FileExistsError):
                path.mkdir()
                break
        write_atomic(path / SOURCE, json.dumps({"data": absolute_path(source)}))
        return path

    def find(self, name: str) -> Path:
        """Return the folder of an audit. Raises RunError where there is none."""
        path = Run.path_for(self.folder, name)
        if path.is_symlink() or not (path / SOURCE).is_file():
            raise RunError(f"{name}: there is no such audit in {self.folder}; it may have been deleted")
        return path

    def source(self, name: str) -> str:
        """Return what data an audit is of. Raises RunError."""
        return read_source(self.find(name))

    def all(self) -> list[dict[str, Any]]:
        """Return the audits, the newest first."""
        audits = []
        for path in sorted(self.folder.glob(f"*/{SOURCE}"), key=modified_ns, reverse=True):
            with suppress(RunError, DataError):
                folder = self.find(path.parent.name)
                is_done = (folder / FINDINGS).is_file()
                counts = {"findings": len(read_findings(folder / FINDINGS)), "decided": len(self.decisions(folder))}
                audits.append({"name": folder.name, "data": read_source(folder), "is_done": is_done, **counts})
        return audits

    def describe(self, name: str, data: Dataset) -> dict[str, Any]:
        """Return an audit's findings with their decisions, the rows of their images, and the command for training."""
        path = self.find(name)
        rows = rows_by_text(data)
        decisions = {(each.split, each.sample): each for each in self.decisions(path)}
        findings: list[dict[str, Any]] = []
        for finding in read_findings(path / FINDINGS):
            decision = decisions.get((finding["split"], finding["sample"]))
            row = rows.get(finding["split"], {}).get(finding["sample"])
            label = "" if row is None else data.classes[int(data.splits()[finding["split"]].labels[row])]
            beside = rows.get(finding["beside_split"], {}).get(finding["beside_sample"])
            findings.append(
                finding | {
                    "row": row, "label": label, "beside_row": beside,
                    "decision": decision.decision if decision else "", "new_label": decision.label if decision else "",
                    "takes_decision": finding["kind"] in OF_LABELS and row is not None,
                }
            )  # fmt: skip
        has_broken = any(finding["kind"] == "broken" for finding in findings)
        network = preview_network(read_source(path), data)
        skip = ["--on-bad-image", "skip"] if has_broken else []
        return {
            "name": name, "data": read_source(path), "classes": list(data.classes), "findings": findings,
            "kinds": KINDS, "corrections": str(path / CORRECTIONS),
            "command": command_line(
                ["train", network, "--data", read_source(path), "--corrections", str(path / CORRECTIONS), *skip]
            ),
            "network": network, "has_broken_files": bool(skip), "is_small": max(data.shape[1:]) <= MAX_PIXELATED_SIDE,
        }  # fmt: skip

    def decide(self, name: str, data: Dataset, split: str, sample: str, decision: str, label: str) -> dict[str, int]:
        """Record a decision about a sample, and return how many there are of each kind.

        Args:
            name: The audit.
            data: The data that were audited.
            split: Name of the split.
            sample: Id of the sample.
            decision: keep, relabel or drop; empty to take an earlier one back.
            label: The new class, with relabel.

        Raises:
            LenextError: There is no such sample, decision or class.
        """
        path = self.find(name)
        correction = Correction(split, sample, convert("decision", decision or "keep", Decision), label)
        check_correction(correction, f"{split} {sample}")
        if label and label not in data.classes:
            raise ConfigurationError(unknown_name("class", label, data.classes))
        splits = data.splits()
        if split not in splits or sample not in rows_by_text(data)[split]:
            raise DataError(f"{split} {sample}: there is no such sample")
        with self.lock:
            decisions = {(each.split, each.sample): each for each in self.decisions(path)}
            decisions.pop((split, sample), None)
            if decision:
                decisions[split, sample] = correction
            write_atomic(path / CORRECTIONS, format_corrections(decisions.values()))
        return dict(Counter(each.decision for each in decisions.values()))

    def decisions(self, path: Path) -> list[Correction]:
        """Return the decisions of an audit so far."""
        return read_corrections(path / CORRECTIONS) if (path / CORRECTIONS).is_file() else []


def read_source(path: Path) -> str:
    """Return what data an audit is of. Raises RunError."""
    try:
        return str(json.loads(read_regular(path / SOURCE, MAX_BYTES))["data"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunError(f"{path / SOURCE}: cannot be read ({error})") from error


def read_findings(path: Path) -> list[dict[str, Any]]:
    """Return the findings of an audit; none before it has ended. Raises RunError."""
    if not path.is_file():
        return []
    try:
        lines = io.StringIO(read_regular(expand_path(path), MAX_BYTES).decode(), newline="")
        return [{key: row.get(key) or "" for key in COLUMNS} for row in csv.DictReader(lines)]
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
