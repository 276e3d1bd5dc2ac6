"""The file in which charts outlive a restart: small, whole or not at all."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_resad.device.drift.product_charts import ProductCharts
from edge_resad.errors import EdgeResadError
from edge_resad.whole_file import write_whole

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
MOST_PRODUCTS = 64  # kept; those that were on the line last
_CHARTS = TypeAdapter(ProductCharts)


class ChartsFile:
    """Products' charts in one file of JSON. Whoever changes charts calls `keep`, which waits for no disk.

    The rest may be another thread's.
    """

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None  # why the file is not up to date
        self._path = path
        self._is_written = False
        self._kept: dict[str, bytes] = {}  # by product, the one that was kept last at the end

    def read(self) -> dict[str, ProductCharts]:
        """What was kept, by product; nothing where there is no file or where it cannot be read, which the log tells."""
        try:
            found = read_charts(self._path)
        except EdgeResadError as error:
            log.warning("%s", error)
            return {}
        for product, charts in found.items():
            self.keep(product, charts)
        self._is_written = bool(found)
        return found

    def was_taken_away(self) -> bool:
        """Whether somebody removed what we wrote, or read at the start."""
        return self._is_written and not self._path.exists()

    def forget(self) -> None:
        """Nothing was kept so far."""
        self._kept = {}

    def keep(self, product: str, charts: ProductCharts) -> None:
        """Take a picture of charts, which may go on changing."""
        newest = {name: told for name, told in self._kept.items() if name != product}
        newest[product] = _CHARTS.dump_json(charts)
        self._kept = dict(list(newest.items())[-MOST_PRODUCTS:])

    def write(self) -> None:
        """Write what was kept; a disk that refuses is said once."""
        inside = ", ".join(f"{json.dumps(name)}: {charts.decode()}" for name, charts in self._kept.items())
        try:
            write_whole(self._path, f'{{"schema": {SCHEMA_VERSION}, "products": {{{inside}}}}}\n'.encode())
        except OSError as refused:
            if self.problem is None:
                log.warning("%s takes no charts: %s. Make room, or allow it", self._path, refused.strerror or refused)
            self.problem = str(refused)
            return
        self.problem = None
        self._is_written = True


def read_charts(path: Path) -> dict[str, ProductCharts]:
    """Charts by product, the one that was on the line last at the end; nothing where there is no file.

    Raises:
        EdgeResadError: it cannot be read, or holds something else.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA_VERSION:
            raise ValueError(f"expected charts of schema {SCHEMA_VERSION}")
        return {name: _CHARTS.validate_python(charts) for name, charts in content["products"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, ValidationError) as error:
        says = " ".join(str(error).split())[:200]
        raise EdgeResadError(f"the charts in {path} cannot be read ({says}). Remove the file to learn anew") from error
