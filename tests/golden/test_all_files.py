"""No golden number is without a test."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
TESTS = {file: file.read_text(encoding="utf-8") for file in FOLDER.glob("test_*.py")}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.npz")), ids=lambda file: file.stem)
def test_a_file_of_numbers_is_read_by_a_test(file: Path) -> None:
    assert any(f'"{file.stem}"' in text for name, text in TESTS.items() if name != Path(__file__))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.npz")), ids=lambda file: file.stem)
def test_the_readme_says_what_a_file_of_numbers_holds(file: Path) -> None:
    assert f"`{file.stem}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
