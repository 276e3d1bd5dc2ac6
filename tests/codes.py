"""Codes as a printer draws them: QR and EAN-13."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEFT = ("0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011")
_PARITY = ("LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL")


def qr_code(text: str, side: int = 160) -> NDArray[np.uint8]:
    """(side, side) uint8, black on white, with the quiet zone that its encoder gives it."""
    code = cv2.QRCodeEncoder.create().encode(text)
    return np.asarray(cv2.resize(code, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)


def ean13_code(digits: str, width: int = 2) -> NDArray[np.uint8]:
    """(40 width, 95 width) uint8: the bars of GS1's General Specifications, the narrowest so many pixels wide."""
    first, *rest = map(int, digits)
    opposite = str.maketrans("01", "10")
    left = "".join(
        _LEFT[digit] if parity == "L" else _LEFT[digit].translate(opposite)[::-1]
        for digit, parity in zip(rest[:6], _PARITY[first], strict=True)
    )
    right = "".join(_LEFT[digit].translate(opposite) for digit in rest[6:])
    bars = np.array([bar == "0" for bar in f"101{left}01010{right}101"], np.uint8) * 255
    return np.asarray(np.repeat(np.tile(bars, (40 * width, 1)), width, axis=1), np.uint8)


def checked(digits: str) -> str:
    """Twelve digits with their check digit."""
    odd, even = (sum(map(int, digits[start::2])) for start in (0, 1))
    return f"{digits}{-(odd + 3 * even) % 10}"
