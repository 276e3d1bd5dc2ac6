"""Codes on parts: what a QR code or a barcode in the picture says."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Kind = Literal["qr", "barcode"]


class CodeReader:
    """Reads one kind of code with OpenCV's detectors. Belongs to one thread."""

    def __init__(self, kind: Kind) -> None:
        self._qr = cv2.QRCodeDetectorAruco() if kind == "qr" else None
        self._qr_again = cv2.QRCodeDetector()
        self._barcode = cv2.barcode.BarcodeDetector() if kind == "barcode" else None  # EAN-13, EAN-8, UPC-A

    def read(self, picture: NDArray[np.uint8]) -> list[str]:
        """What the codes say that could be read. picture: (H, W, 3) uint8, BGR."""
        if self._qr is not None:
            found, texts, *_ = self._qr.detectAndDecodeMulti(picture)
            return (_said(texts) if found else []) or self._searched(picture)
        return self._bars(picture) or self._bars(
            cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        )

    def _searched(self, picture: NDArray[np.uint8]) -> list[str]:
        """By the detector that takes longer: it reads small codes of which the other is not sure."""
        text, *_ = self._qr_again.detectAndDecode(picture)
        if not text:
            return []
        found, texts, *_ = self._qr_again.detectAndDecodeMulti(picture)  # it may not be the only one
        return sorted({text, *(_said(texts) if found else [])})

    def _bars(self, picture: cv2.typing.MatLike) -> list[str]:
        """Bars of two or three pixels are found best: of larger ones the half."""
        assert self._barcode is not None
        found, texts, *_ = self._barcode.detectAndDecodeWithType(picture)
        return _said(texts) if found else []


def _said(texts: object) -> list[str]:
    """The texts of codes; one that was seen but not read is empty."""
    return [text for text in texts if text] if isinstance(texts, (tuple, list)) else []
