"""What the runs with faults leave for docs/measured: one file a run, one row a fault."""

import json
import os
from pathlib import Path
from typing import Any

BUILD = Path(__file__).parents[3] / "build"


def note(name: str, title: str, fault: str, row: dict[str, Any]) -> None:
    """Adds the row, or replaces it by a newer one; make copies the file when all is well."""
    file = BUILD / f"{name}.json"
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"title": title, "faults": []}
    row = {"fault": fault} | row | {"load_average": round(os.getloadavg()[0], 1)}
    known["cores"] = os.cpu_count()
    known["faults"] = [other for other in known["faults"] if other["fault"] != fault] + [row]
    BUILD.mkdir(exist_ok=True)
    file.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    print(fault, row)  # noqa: T201 - for whoever watches the run
