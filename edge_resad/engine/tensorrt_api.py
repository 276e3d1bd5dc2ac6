"""TensorRT's Python module, whichever is installed: JetPack's `tensorrt`, or `tensorrt_rtx` on a workstation.

What differs between versions is asked of the module by name: the integers behind the enums changed from 10 to 11.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from typing import Any

from edge_resad.errors import EngineError

MODULES = ("tensorrt", "tensorrt_rtx")
_MOST_LINES = 5000
OLDEST = (10, 3)  # of `tensorrt`; the first whose strongly typed networks take what a bundle holds


@dataclass(frozen=True, kw_only=True)
class TensorRT:
    """The module that was found."""

    module: Any
    name: str  # tensorrt or tensorrt_rtx
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Log:
    """What TensorRT said lately, line by line."""

    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """The first error that says why, without source files and codes."""
        return first_reason(self.errors)


def find_tensorrt() -> TensorRT:
    """Import TensorRT.

    Raises:
        EngineError: it is not installed, does not load, or is older than 10.3.
    """
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise _not_loading(name, error) from error
            continue
        except (ImportError, OSError) as error:
            raise _not_loading(name, error) from error
        found = TensorRT(module=module, name=name, version=str(module.__version__))
        _check_age(found)
        return found
    raise EngineError(
        "TensorRT is not installed for this Python. On a Jetson: apt-get install python3-libnvinfer, and make the "
        "virtual environment with --system-site-packages; on a workstation: pip install 'edge-resad[trt-test]'."
    )


def recording_logger(trt: Any, log: Log) -> Any:
    """A logger of TensorRT's that keeps what it is told; errors apart."""

    class Recorder(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                _keep(log.errors, message)
            elif severity != trt.ILogger.VERBOSE:
                _keep(log.lines, message)

    return Recorder()


def _keep(lines: list[str], line: str) -> None:
    lines.append(line)
    if len(lines) > 2 * _MOST_LINES:  # an engine that warns at every run for months
        del lines[:-_MOST_LINES]


def first_reason(errors: list[str]) -> str:
    """The first line of TensorRT's errors that is a reason, in one line."""
    lines = [_bare(line) for message in errors for line in message.splitlines()]
    return next((line for line in lines if line), "it gave no reason")


_LOCATION = re.compile(r"\(?\s*\b[Ii]n (?:function )?[\w:~]+ at \S+?:\d+\s*\)?")
_SOURCE = re.compile(r"\[\w+\.cpp:\d+: \w+\] ?")
_PREAMBLE = re.compile(
    r"While parsing node|--- (?:Begin|End) node|Node name:|(?:ERROR: )?\S+:\d+ In function|\[\d+\] Invalid Node"
)
_CODE = re.compile(
    r"^(?:\[\w+\.cpp::\w+::\d+\] |\w+::\w+: )?Error Code \d+: [\w ]+ \((?P<said>.*)\)$"
    r"|^.*?Assertion failed: .*?: (?P<held>.*)$"
)


def _bare(line: str) -> str:
    line = re.sub(r"^\S+\.cpp:\d+: ", "", line.strip())
    if _PREAMBLE.match(line):
        return ""
    found = _CODE.match(line)
    said = line if found is None else found["said"] or found["held"] or line
    return _SOURCE.sub("", _LOCATION.sub("", said)).strip().rstrip(".")


def _not_loading(name: str, error: Exception) -> EngineError:
    return EngineError(
        f"{name} is installed but does not load: {error}. Install TensorRT's libraries for this system: on a Jetson "
        "apt-get install nvidia-jetpack, in a container one of the same JetPack with --runtime nvidia."
    )


def _check_age(found: TensorRT) -> None:
    numbers = re.match(r"(\d+)\.(\d+)", found.version)
    if found.name == MODULES[0] and numbers and (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise EngineError(
            f"TensorRT {found.version} is too old: engines are built with 10.3 or newer, which comes with JetPack 6.1. "
            "Update JetPack, or inspect with ONNX Runtime."
        )
