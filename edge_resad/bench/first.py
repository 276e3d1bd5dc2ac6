"""The first verdict of a station, in a process of its own: `python -m edge_resad.bench.first SETTINGS.json`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_resad.errors import EdgeResadError, EngineError

STARTS = 3


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """Medians of several processes."""

    seconds: float  # from the start of the process to the first verdict
    peak_rss_mb: float | None  # the most that the process held; None: the kernel does not say
    stages_ms: Mapping[str, float]  # what each stage of that part took


def cold_start(settings: Path, *, starts: int = STARTS) -> ColdStart:
    """Start stations of these settings, a `StationFile` as JSON whose camera shows one part.

    Raises:
        EngineError: a station ends without a verdict.
    """
    runs = [_start(settings) for _ in range(starts)]
    peaks = [run.peak_rss_mb for run in runs if run.peak_rss_mb is not None]
    return ColdStart(
        seconds=statistics.median(run.seconds for run in runs),
        peak_rss_mb=statistics.median(peaks) if peaks else None,
        stages_ms={name: statistics.median(run.stages_ms[name] for run in runs) for name in runs[0].stages_ms},
    )


def _start(settings: Path) -> ColdStart:
    ours = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "edge_resad.bench.first", str(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        seconds = time.perf_counter() - start
        rest, complaints = process.communicate()
    if process.returncode != 0 or not said:
        why = complaints.strip().splitlines()[-1] if complaints.strip() else f"exit code {process.returncode}"
        raise EngineError(f"a fresh process came to no verdict: {why}. See edge-resad doctor.")
    told = json.loads(rest)
    return ColdStart(seconds=seconds, peak_rss_mb=told["peak_rss_mb"], stages_ms=told["stages_ms"])


def main() -> None:
    """Say when the first verdict is there; then the most memory that this process held, and the part's stages."""
    import threading

    from edge_resad.device.pipeline import Inspection
    from edge_resad.device.settings import StationFile
    from edge_resad.device.stages import Stages
    from edge_resad.device.station import run_station

    def say(inspection: Inspection) -> None:
        if inspection.verdict is not None:
            print("verdict", flush=True)

    stages = Stages()
    settings = StationFile.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        run_station(settings, stop=threading.Event(), on_inspection=say, stages=stages)
    except EdgeResadError as error:
        raise SystemExit(str(error)) from None
    peak = Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()
    print(json.dumps({"peak_rss_mb": int(peak[0]) * 1024 / 1e6 if peak else None, "stages_ms": stages.last_ms}))


if __name__ == "__main__":
    main()
