"""What pycuda lacks of CUDA's driver: graphs, and a context's last pop. By ctypes, on pycuda's own handles."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile is none of its business


class CudaFailure(Exception):
    """A call of the driver failed; the message has its name and what the driver says."""


class Libcuda:
    """The driver's library, which pycuda has loaded already."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            OSError: there is none.
        """
        self._library = ctypes.CDLL("libcuda.so.1")

    def pop(self, context: int) -> None:
        """Take a context from this thread's stack where it lies on top."""
        popped = ctypes.c_void_p()
        if self._library.cuCtxPopCurrent_v2(ctypes.byref(popped)) == 0 and popped.value not in (None, context):
            self._library.cuCtxPushCurrent_v2(popped)

    def capture(self, stream: int, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` puts on a stream, without doing it.

        Raises:
            CudaFailure: the driver takes none of it; the stream is as it was.
            Whatever `work` raises: likewise.
        """
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))
        recorded = ctypes.c_void_p()
        try:
            work()
        except BaseException:
            with suppress(CudaFailure):  # a capture that nobody ends leaves the stream useless
                self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(recorded))
            self._destroy("cuGraphDestroy", recorded)
            raise
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(recorded))
        made = ctypes.c_void_p()
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(made), recorded, ctypes.c_ulonglong(0))
        finally:
            self._destroy("cuGraphDestroy", recorded)
        return CudaGraph(self, made, ctypes.c_void_p(stream))

    def _call(self, name: str, *arguments: object) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise CudaFailure(f"this driver has no {name}") from None
        status = function(*arguments)
        if status:
            raise CudaFailure(f"{name} failed: {self._said(status)}")

    def _said(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text))
        return (text.value or b"").decode(errors="replace") or f"error {status}"

    def _destroy(self, name: str, handle: ctypes.c_void_p) -> None:
        if handle.value:
            getattr(self._library, name)(handle)


class CudaGraph:
    """Recorded work, to be launched again and again on the stream that it was recorded on."""

    def __init__(self, library: Libcuda, made: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        self._library = library
        self._made = made
        self._stream = stream

    def launch(self) -> None:
        """Put the work on its stream.

        Raises:
            CudaFailure: the driver does not take it.
        """
        self._library._call("cuGraphLaunch", self._made, self._stream)

    def close(self) -> None:
        """Destroy it; nothing of it may wait on the stream."""
        self._library._destroy("cuGraphExecDestroy", self._made)
        self._made = ctypes.c_void_p()
