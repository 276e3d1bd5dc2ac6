"""Codes are read from pictures as a camera gives them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_resad.device.codes import CodeReader
from tests.products import Image, moved

LEFT = ("0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011")
PARITY = ("LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL")


def qr(text: str) -> Image:
    code = cv2.resize(cv2.QRCodeEncoder.create().encode(text), (160, 160), interpolation=cv2.INTER_NEAREST)
    return _on_paper(np.asarray(code, np.uint8))


def ean13(digits: str, width: int = 2) -> Image:
    """The bars of GS1's General Specifications, section on EAN-13, the narrowest so many pixels wide."""
    first, *rest = map(int, digits)
    opposite = str.maketrans("01", "10")
    left = "".join(
        LEFT[digit] if parity == "L" else LEFT[digit].translate(opposite)[::-1]
        for digit, parity in zip(rest[:6], PARITY[first], strict=True)
    )
    right = "".join(LEFT[digit].translate(opposite) for digit in rest[6:])
    bars = np.array([bar == "0" for bar in f"101{left}01010{right}101"], np.uint8) * 255
    return _on_paper(np.asarray(np.repeat(np.tile(bars, (40 * width, 1)), width, axis=1), np.uint8))


def _on_paper(code: Image) -> Image:
    paper: Image = np.full((code.shape[0] + 120, code.shape[1] + 160, 3), 235, np.uint8)
    paper[60:-60, 80:-80] = code[:, :, None]
    return np.asarray(cv2.GaussianBlur(paper, (3, 3), 0.7), np.uint8)  # as a lens does


def test_a_qr_code_is_read_straight_and_turned() -> None:
    reader = CodeReader("qr")
    assert reader.read(qr("4711-0815")) == ["4711-0815"]
    assert reader.read(moved(qr("4711-0815"), 5, -3, 8)[0]) == ["4711-0815"]


def test_a_barcode_is_read_straight_and_turned() -> None:
    reader = CodeReader("barcode")
    assert reader.read(ean13("4006381333931")) == ["4006381333931"]
    assert reader.read(moved(ean13("4006381333931"), 5, -3, 8)[0]) == ["4006381333931"]


@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_a_barcode_is_read_near_and_far(width: int) -> None:
    assert CodeReader("barcode").read(ean13("5901234123457", width)) == ["5901234123457"]


def test_each_reader_reads_its_own_kind_alone() -> None:
    assert CodeReader("barcode").read(qr("4711-0815")) == []
    assert CodeReader("qr").read(ean13("4006381333931")) == []


def test_a_picture_without_a_code_says_nothing() -> None:
    empty: Image = np.full((120, 160, 3), 90, np.uint8)
    assert CodeReader("qr").read(empty) == CodeReader("barcode").read(empty) == []
