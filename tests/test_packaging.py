"""What the wheel holds: the product, its bundle and its licence, nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_resad import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

CHECKOUT = Path(__file__).resolve().parent.parent
LARGEST_BUNDLE = 8_000_000  # bytes; a device fetches it over whatever line a factory has
LARGEST_WHEEL = 10_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built without a network from a copy, workstation rooms included."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    shutil.copytree(
        CHECKOUT,
        source,
        ignore=shutil.ignore_patterns(
            ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "out", "demo-out", "dist"
        ),
    )
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )
    assert built.returncode == 0, built.stderr
    (file,) = (folder / "dist").glob("*.whl")
    assert file.stat().st_size <= LARGEST_WHEEL
    return zipfile.ZipFile(file)


def test_the_wheel_holds_the_product_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"edge_resad", f"edge_resad-{__version__}.dist-info"}


def test_the_wheel_holds_every_module_and_the_mark_of_types(wheel: zipfile.ZipFile) -> None:
    ours = {
        file.relative_to(CHECKOUT).as_posix()
        for file in (CHECKOUT / "edge_resad").rglob("*")
        if file.suffix == ".py" or file.name == "py.typed"
    }
    assert ours - set(wheel.namelist()) == set()


def test_the_wheel_carries_licence_and_notice(wheel: zipfile.ZipFile) -> None:
    names = {Path(name).name for name in wheel.namelist() if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE"} <= names


def test_the_wheel_carries_a_small_whole_bundle(wheel: zipfile.ZipFile) -> None:
    in_bundle = [entry for entry in wheel.infolist() if entry.filename.startswith("edge_resad/bundles/edge/")]
    names = {Path(entry.filename).name for entry in in_bundle}
    assert names == {file.name for file in (CHECKOUT / "edge_resad/bundles/edge").iterdir()}
    assert "manifest.json" in names
    assert sum(entry.file_size for entry in in_bundle) <= LARGEST_BUNDLE


def test_a_device_installs_no_torch(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needs = re.findall(r"^Requires-Dist: (.*)$", wheel.read(metadata).decode(), re.MULTILINE)
    base = [need for need in needs if "extra ==" not in need]
    assert len(base) >= 5, base
    heavy = re.compile(r"(torch\w*|timm|onnx|tensorrt|pycuda|efficientnet.*)$")
    assert [need for need in base if heavy.match(re.split(r"[\s<>=!~;\[]", need)[0])] == []


def test_every_extra_of_the_readme_exists() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"'\.\[(\w+)\]'", (CHECKOUT / "README.md").read_text(encoding="utf-8")))
    assert named
    assert named - project["optional-dependencies"].keys() == set()
