"""One question to a fresh process of ours, one answer: after a failed build, TensorRT builds worse in the same one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel

import edge_resad
from edge_resad.errors import EngineError


class Refused(Exception):
    """TensorRT does not take this graph, or its process died of it; another graph may do."""


def ask(module: str, question: BaseModel, *, keep_open: Sequence[int] = ()) -> str:
    """Run a module of ours, give it the question, and return its answer as JSON. Paths in it are absolute.

    keep_open: file descriptors that the child holds as long as it lives.

    Raises:
        Refused: the child says so, or was killed.
        EngineError: the child says so.
        RuntimeError: it ended without an answer: a bug, with the child's traceback.
    """
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=question.model_dump_json(),
        capture_output=True,
        text=True,
        errors="replace",
        cwd=Path(edge_resad.__file__).resolve().parent.parent,  # first on its path: the child runs the code that asks
        pass_fds=tuple(keep_open),
    )
    if done.returncode < 0:
        raise Refused(_died(-done.returncode))
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{module} ended with {done.returncode} and no answer:\n{done.stderr}") from None
    if "refused" in said:
        raise Refused(said["refused"])
    if "error" in said:
        raise EngineError(said["error"])
    return json.dumps(said["answer"])


def answer(work: Callable[[str], BaseModel]) -> None:
    """In the child: answer the question on stdin, on stdout."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what TensorRT's libraries print is no part of the answer
        try:
            content: dict[str, object] = {"answer": work(sys.stdin.read()).model_dump(mode="json")}
        except Refused as refusal:
            content = {"refused": str(refusal)}
        except EngineError as error:
            content = {"error": str(error)}
        json.dump(content, out)


def _died(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    why = ", most often for want of memory" if number == signal.SIGKILL else ""
    return f"the building process was killed by {name}{why}"
