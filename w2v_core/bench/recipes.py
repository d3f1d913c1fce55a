"""Warm starts: what the first start with a recipe cache took, beside what this one took."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from w2v_core.backends.hpu_environment import RECIPE_CACHE
from w2v_core.records.record import CellRecord


def cold_warm_up_s(record: CellRecord, environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the warm-up of the first start of this cell with this process's recipe cache.

    A first start is noted beside the cache (``<cache>.json``), and None is returned. The bridge
    writes and reads the recipes themselves; that they were found shows in the two times and in
    ``compile_s``, not here.
    """
    directory = environ.get(RECIPE_CACHE, "").partition(",")[0]
    if not directory or record.device != "hpu":
        return None
    path = Path(directory)
    notes = path.with_name(f"{path.name}.json")
    known: dict[str, float] = json.loads(notes.read_text()) if notes.exists() else {}
    name = f"{record.cell} {record.batch_plan} {record.limit}"
    if name in known:
        return known[name]
    temporary = notes.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({**known, name: record.warm_up_s}, indent=1) + "\n")
    temporary.replace(notes)
    return None
