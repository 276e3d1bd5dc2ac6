"""One GPU as one thread uses it: pycuda for memory, streams and events, in the context that other libraries share.

Everything made here is closed by who made it, in the thread that made it, the newest first and the context last.
pycuda frees a stream or an event when nothing refers to it any more, so nothing else may hold what is inside.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.engine.libcuda import CudaFailure, CudaGraph, Libcuda
from edge_resad.errors import EngineError

if TYPE_CHECKING:
    from pycuda.driver import Context, Device, DeviceAllocation, HostPointer, PagelockedHostAllocation
    from pycuda.driver import Event as RawEvent
    from pycuda.driver import Stream as RawStream

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which pycuda has no name: it does not wait for the default stream


class Cuda:
    """The first GPU's primary context, current in the thread that enters it."""

    def __init__(self) -> None:
        self._driver: Any = None
        self._context: Context | None = None
        self.integrated = False
        """Whether the GPU has no memory of its own, as on a Jetson."""
        self.failures: tuple[type[Exception], ...] = (CudaFailure,)
        """What a call that the GPU or its driver refuses raises."""

    def __enter__(self) -> Cuda:
        driver = self._driver = _pycuda()
        self.failures = (driver.Error, CudaFailure)
        try:
            driver.init()
            device: Device = driver.Device(0)
            self.integrated = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
            self._libcuda = Libcuda()
            self._context = device.retain_primary_context()
        except (driver.Error, OSError) as error:
            raise _not_starting(error) from error
        try:
            self._context.push()
        except driver.Error as error:
            self._release()
            raise _not_starting(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._context is not None
        try:
            self._context.pop()
        finally:
            self._release()

    def stream(self) -> Stream:
        """A stream that waits for no other."""
        return Stream(self._driver, self._libcuda)

    def event(self) -> Event:
        """A point in a stream's work, with its time."""
        return Event(self._driver)

    def device_buffer(self, size: int) -> DeviceBuffer:
        """Memory of the GPU, bytes."""
        return DeviceBuffer(self._driver, size)

    def host_buffer(self, size: int, *, mapped: bool = False) -> HostBuffer:
        """Memory of the host that the GPU can copy by itself, bytes; mapped: that its kernels reach too."""
        return HostBuffer(self._driver, size, mapped)

    def _release(self) -> None:
        assert self._context is not None
        handle = self._context.handle
        self._context.detach()  # pycuda makes it current to do so, and does not take back a primary context
        self._context = None
        self._libcuda.pop(handle)


class Stream:
    """Work in order."""

    def __init__(self, driver: Any, libcuda: Libcuda) -> None:
        self._driver = driver
        self._libcuda = libcuda
        self._stream: RawStream | None = driver.Stream(_NON_BLOCKING)

    @property
    def handle(self) -> int:
        """What TensorRT and the driver call it."""
        assert self._stream is not None
        return int(self._stream.handle)

    def upload(self, address: int, source: NDArray[Any]) -> None:
        """Copy pinned memory to the GPU, in time."""
        self._driver.memcpy_htod_async(address, source, self._stream)

    def download(self, target: NDArray[Any], address: int) -> None:
        """Copy from the GPU to pinned memory, in time."""
        self._driver.memcpy_dtoh_async(target, address, self._stream)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes from one of the GPU's addresses to another, in time."""
        self._driver.memcpy_dtod_async(target, source, size, self._stream)

    def record(self, event: Event) -> None:
        """Note when the work up to here is done."""
        assert event._event is not None
        event._event.record(self._stream)

    def synchronize(self) -> None:
        """Wait until everything is done."""
        assert self._stream is not None
        self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` puts on this stream; see `Libcuda.capture`."""
        return self._libcuda.capture(self.handle, work)

    def close(self) -> None:
        """Give it back."""
        self._stream = None


class Event:
    """When work was done, on the GPU's own clock."""

    def __init__(self, driver: Any) -> None:
        self._event: RawEvent | None = driver.Event()

    def ms_since(self, earlier: Event) -> float:
        """Milliseconds between two events that have come to pass."""
        assert self._event is not None
        return float(self._event.time_since(earlier._event))

    def close(self) -> None:
        """Give it back."""
        self._event = None


class DeviceBuffer:
    """Memory of the GPU."""

    def __init__(self, driver: Any, size: int) -> None:
        self._allocation: DeviceAllocation | None = driver.mem_alloc(size)
        self.address = int(self._allocation)  # type: ignore[call-overload, unused-ignore]

    def close(self) -> None:
        """Free it."""
        if self._allocation is not None:
            self._allocation.free()
            self._allocation = None


class HostBuffer:
    """Pinned memory of the host. Views of it are void once it is closed."""

    def __init__(self, driver: Any, size: int, mapped: bool) -> None:
        flags = int(driver.host_alloc_flags.DEVICEMAP) if mapped else 0
        self.bytes: NDArray[np.uint8] = driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        self._allocation: PagelockedHostAllocation | None = self.bytes.base
        self.bytes[:] = 0
        self.address = 0  # where kernels find it; 0: nowhere
        if mapped:
            pointer: HostPointer = self.bytes.base
            try:
                self.address = int(pointer.get_device_pointer())
            except driver.Error:
                self.close()
                raise

    def close(self) -> None:
        """Free it."""
        if self._allocation is not None:
            self.bytes = np.empty(0, np.uint8)
            self._allocation.free()
            self._allocation = None


def _pycuda() -> Any:
    try:
        import pycuda.driver as driver
    except (ImportError, OSError) as error:  # it is an extra, and loads libcuda
        raise EngineError(
            f"pycuda, which runs engines on the GPU, does not load here ({error}). Install it where JetPack or an "
            "NVIDIA driver is: pip install 'edge-resad[jetson]'."
        ) from error
    return driver


def _not_starting(error: Exception) -> EngineError:
    return EngineError(
        f"the GPU does not start ({error}). Engines need an NVIDIA GPU and its driver, in a container --runtime "
        'nvidia; without one, inspect with [engine] provider = "cpu".'
    )
