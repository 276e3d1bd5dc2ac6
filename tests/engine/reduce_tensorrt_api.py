"""Write tests/engine/tensorrt_api.json: `python -m tests.engine.reduce_tensorrt_api FOLDER_OF_DUMPS`.

A dump lists what one version of the bindings has: classes with their methods, properties and enums, and functions.
Kept are the names that our modules touch, nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.engine.api_names import CHECKOUT, PYCUDA, VERSIONS, Names, reduced, touching_modules, walk

LIST = Path(__file__).with_name("tensorrt_api.json")


def our_sources() -> dict[str, str]:
    """Path in the checkout -> text of every module of ours that touches TensorRT or pycuda."""
    return {str(file.relative_to(CHECKOUT)): file.read_text(encoding="utf-8") for file in touching_modules()}


def reduced_list(dumps: Path) -> dict[str, Any]:
    """What the file should hold, from the whole dumps."""
    sources = our_sources()
    driver = json.loads((dumps / f"{PYCUDA}.json").read_text(encoding="utf-8"))["driver"]
    whole = {one: json.loads((dumps / f"{one}.json").read_text(encoding="utf-8")) for one in VERSIONS}
    touched = set().union(*(walk(sources, Names(trt, driver)).touched for trt in whole.values()))
    lists = {one: reduced(trt, touched, "trt") for one, trt in whole.items()}
    return {**lists, PYCUDA: reduced(driver, touched, "driver")}


def main() -> None:
    """Write the list."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    LIST.write_text(json.dumps(reduced_list(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
