"""`lenext audit`: find faults of a dataset."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import INTEGER, AsJson, DataDir, Offline, app
from lenext.foundation.streams import write_out
from lenext.reporting.tables import print_json, print_table


@app.command
def audit(
    data: Annotated[str, Parameter(help="a name or a path, as for train")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the folder for audit.csv and audit.html")] = Path("audit"),
    labels: Annotated[bool, Parameter(help="train small networks to find suspect labels")] = True,
    suspect: Annotated[
        Literal["precise", "sensitive"] | None,
        Parameter(help="rule for suspect labels: precise has few false alarms, sensitive (the default) few misses"),
    ] = None,
    network: Annotated[
        str | None, Parameter(help="network to train, a name or FILE.py:Class; lenet_32px by default")
    ] = None,
    epochs: Annotated[int | None, INTEGER, Parameter(help="epochs of each training; 12 by default")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Find broken, odd, rotated and duplicate images, small classes and suspect labels. Nothing is changed."""
    from lenext.workflows.audit import KINDS
    from lenext.workflows.audit import audit as audit_dataset

    report = audit_dataset(
        data, out=out, labels=labels, suspect=suspect, network=network, epochs=epochs, data_dir=data_dir,
        offline=offline,
    )  # fmt: skip
    counts = Counter(finding.kind for finding in report.findings)
    if json:
        print_json({"counts": counts, "table": str(report.table), "page": str(report.page)})
        return
    examples = {kind: report.of(kind)[0] for kind in KINDS if counts[kind]}
    rows = [[kind, f"{counts[kind]:,}", finding.sample, finding.description] for kind, finding in examples.items()]
    print_table(["finding", "count", "example", "description"], rows or [["nothing", "0", "", ""]], right=["count"])
    write_out("".join(f"\n{note}\n" for note in report.notes))
    write_out(f"\n{report.table} and {report.page}\n")
