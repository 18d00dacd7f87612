"""`lenext audit`: what is wrong with data."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import WHOLE, AsJson, DataDir, Offline, app
from lenext.foundation.streams import write_out
from lenext.reporting.tables import show_json, show_table


@app.command
def audit(
    data: Annotated[str, Parameter(help="a name or a path, as for train")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the folder for audit.csv and audit.html")] = Path("audit"),
    labels: Annotated[bool, Parameter(help="train small networks to find suspect labels")] = True,
    suspect: Annotated[
        Literal["precise", "sensitive"] | None,
        Parameter(help="which labels are suspect: with few false alarms, or with few missed; sensitive by default"),
    ] = None,
    network: Annotated[str | None, Parameter(help="which to train, by name; lenet_32px by default")] = None,
    epochs: Annotated[int | None, WHOLE, Parameter(help="for how long; 12 by default")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Look for broken, odd, rotated and doubled images, small classes and suspect labels. Nothing is changed."""
    from lenext.workflows.audit import ABOUT
    from lenext.workflows.audit import audit as work

    found = work(
        data, out=out, labels=labels, suspect=suspect, network=network, epochs=epochs, data_dir=data_dir,
        offline=offline,
    )  # fmt: skip
    counts = Counter(one.kind for one in found.findings)
    if json:
        show_json({"counts": counts, "table": str(found.table), "page": str(found.page)})
        return
    first = {kind: found.of(kind)[0] for kind in ABOUT if counts[kind]}
    rows = [[kind, f"{counts[kind]:,}", one.sample, one.what] for kind, one in first.items()]
    show_table(["finding", "how many", "such as", "what"], rows or [["nothing", "0", "", ""]], right=["how many"])
    write_out("".join(f"\n{note}\n" for note in found.notes))
    write_out(f"\n{found.table} and {found.page}\n")
