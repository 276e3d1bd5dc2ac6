"""Ctrl-C ends a program without a traceback, though it has only begun to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED = """
import runpy, sys

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == {slow!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
sys.argv = [{program!r}, "--help"]
runpy.run_module({program!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("program", "slow"),
    [
        ("edge_resad", "logging"),
        ("edge_resad", "typer"),
        ("edge_resad.demo.products", "edge_resad.demo.products.sheet_file"),
        ("edge_resad.demo.products.factory", "edge_resad.demo.products.factory.verb"),
        ("edge_resad.demo.products.factory", "typer"),
        ("export", "export.verbs"),
        ("calibration", "calibration.verbs"),
    ],
)
def test_a_program_that_is_interrupted_while_it_starts_leaves_no_traceback(program: str, slow: str) -> None:
    script = INTERRUPTED.format(program=program, slow=slow)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
