"""The fake CUDA driver and the real pycuda on it, loaded once a process."""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType

from tests.engine.fake_gpu.pycuda_build import CannotBuild, compile_driver, is_there, pycuda_folder


class FakeDriver:
    """What the fake driver has seen, and what it shall do."""

    def __init__(self, library: ctypes.CDLL, modules: dict[str, ModuleType], folder: Path) -> None:
        self._library = library
        self.modules = modules  # pycuda's, by name
        self.folder = folder  # of libcuda.so.1, for other processes
        library.fake_log.restype = library.fake_problems.restype = ctypes.c_char_p
        library.fake_calls.restype = ctypes.c_long
        library.fake_set_integrated.argtypes = [ctypes.c_int, ctypes.c_double]

    def reset(self) -> None:
        """Forget what was seen; nothing fails."""
        self._library.fake_reset()

    def fail_call(self, number: int) -> None:
        """Let the so-manyth call from now fail, of those that do not release something."""
        self._library.fake_fail_call(ctypes.c_long(number))

    def fail(self, name: str, nth: int = 1, *, times: int = 1) -> None:
        """Let a function fail the nth time it is called from now, and so many times; 0: until it is healed."""
        self._library.fake_fail_name(name.encode(), ctypes.c_long(nth), ctypes.c_long(times))

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._library.fake_fail_name(b"", ctypes.c_long(0), ctypes.c_long(0))

    def be_integrated(self, copy_us: float) -> None:
        """Be the GPU of a Jetson, where a copy takes so long."""
        self._library.fake_set_integrated(1, copy_us)

    def drop_stack(self) -> None:
        """Take all contexts from this thread's stack."""
        self._library.fake_drop_stack()

    @property
    def calls(self) -> int:
        """Calls since `fail_call` or `reset`, of those that it can let fail."""
        return int(self._library.fake_calls())

    @property
    def log(self) -> list[str]:
        """The functions that were called, in order."""
        return bytes(self._library.fake_log()).decode().split()

    @property
    def counts(self) -> Counter[str]:
        """How often each function was called."""
        return Counter(self.log)

    @property
    def problems(self) -> list[str]:
        """What nobody may do to a driver."""
        return bytes(self._library.fake_problems()).decode().splitlines()

    @property
    def live(self) -> int:
        """Allocations, streams, events, graphs and contexts that were not given back."""
        return int(self._library.fake_live())

    @property
    def stack(self) -> int:
        """Contexts on this thread's stack."""
        return int(self._library.fake_stack())


@cache
def load_driver() -> FakeDriver:
    """Load both.

    Raises:
        CannotBuild: pycuda is not built here, or another driver is loaded already.
    """
    if not is_there():
        raise CannotBuild("no pycuda: python -m tests.engine.fake_gpu.pycuda_build builds it once, in about a minute")
    if "libcuda.so" in Path("/proc/self/maps").read_text(encoding="utf-8"):
        raise CannotBuild("a real CUDA driver is loaded in this process")
    folder = Path(mkdtemp(prefix="edge-resad-fake-cuda-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    compile_driver(folder, _missing(compile_driver(folder)))
    library = ctypes.CDLL(str(folder / "libcuda.so.1"), ctypes.RTLD_GLOBAL)  # by its name, whoever asks for it next
    before = set(sys.modules)
    sys.path.insert(0, str(pycuda_folder()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pycuda.driver  # noqa: F401
    finally:
        sys.path.remove(str(pycuda_folder()))
    modules = {name: sys.modules.pop(name) for name in sorted(set(sys.modules) - before) if name.startswith("pycuda")}
    return FakeDriver(library, modules, folder)


def _missing(library: Path) -> tuple[str, ...]:
    """Functions that pycuda wants to find and the fake driver does not have."""
    installed = importlib.util.find_spec("pycuda")
    folder = pycuda_folder() / "pycuda" if installed is None else Path(str(installed.origin)).parent
    (extension,) = folder.glob("_driver*.so")
    wanted = _symbols(extension, "--undefined-only")
    return tuple(sorted(name for name in wanted - _symbols(library, "--defined-only") if name.startswith("cu")))


def _symbols(file: Path, which: str) -> set[str]:
    listed = subprocess.run(["nm", "-D", which, str(file)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].partition("@")[0] for line in listed.splitlines() if line.strip()}
