"""Codes are read from pictures as a camera gives them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_resad.device.codes import CodeReader
from tests.codes import checked, ean13_code, qr_code
from tests.products import Image, moved


def qr(text: str) -> Image:
    return _on_paper(qr_code(text))


def ean13(digits: str, width: int = 2) -> Image:
    return _on_paper(ean13_code(digits, width))


def _on_paper(code: Image) -> Image:
    paper: Image = np.full((code.shape[0] + 120, code.shape[1] + 160, 3), 235, np.uint8)
    paper[60:-60, 80:-80] = code[:, :, None]
    return np.asarray(cv2.GaussianBlur(paper, (3, 3), 0.7), np.uint8)  # as a lens does


def test_a_qr_code_is_read_straight_and_turned() -> None:
    reader = CodeReader("qr")
    assert reader.read(qr("4711-0815")) == ["4711-0815"]
    assert reader.read(moved(qr("4711-0815"), 5, -3, 8)[0]) == ["4711-0815"]


@pytest.mark.parametrize("module", [4, 5, 6, 8])
@pytest.mark.parametrize("text", ["flange-1", "4711-0815", "cap"])
def test_a_qr_code_is_read_near_and_far_straight_and_turned(text: str, module: int) -> None:
    """module: pixels of its smallest square."""
    code = cv2.QRCodeEncoder.create().encode(text)
    shown = _on_paper(np.asarray(np.repeat(np.repeat(code, module, axis=0), module, axis=1), np.uint8))
    reader = CodeReader("qr")
    assert [reader.read(moved(shown, 5, -3, degrees)[0]) for degrees in (0, 7, -20)] == [[text]] * 3


def test_two_qr_codes_are_both_read() -> None:
    both = np.asarray(np.hstack([qr("flange"), qr("cap")]), np.uint8)
    assert sorted(CodeReader("qr").read(both)) == ["cap", "flange"]


def test_a_barcode_is_read_straight_and_turned() -> None:
    reader = CodeReader("barcode")
    assert reader.read(ean13("4006381333931")) == ["4006381333931"]
    assert reader.read(moved(ean13("4006381333931"), 5, -3, 8)[0]) == ["4006381333931"]


@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_a_barcode_is_read_near_and_far(width: int) -> None:
    assert CodeReader("barcode").read(ean13("5901234123457", width)) == ["5901234123457"]


def test_the_last_digit_of_a_barcode_checks_the_others() -> None:
    assert checked("400638133393") == "4006381333931"
    assert checked("590123412345") == "5901234123457"


def test_each_reader_reads_its_own_kind_alone() -> None:
    assert CodeReader("barcode").read(qr("4711-0815")) == []
    assert CodeReader("qr").read(ean13("4006381333931")) == []


def test_a_picture_without_a_code_says_nothing() -> None:
    empty: Image = np.full((120, 160, 3), 90, np.uint8)
    assert CodeReader("qr").read(empty) == CodeReader("barcode").read(empty) == []
