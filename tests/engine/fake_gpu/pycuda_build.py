"""The real pycuda for the fake driver: `python -m tests.engine.fake_gpu.pycuda_build` builds it once and keeps it.

It takes about a minute, a compiler, CUDA's headers and a package index; where one is missing it says so, and the tests
that need pycuda are skipped.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

VERSION = "2026.1"
SOURCE = Path(__file__).with_name("fake_cuda.c")


class CannotBuild(Exception):
    """Something of the system's is missing."""


def cache_folder() -> Path:
    """Where what was built is kept: $EDGE_RESAD_TEST_CACHE, or below the user's cache."""
    named = os.environ.get("EDGE_RESAD_TEST_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(named) if named else users / "edge-resad-tests"


def pycuda_folder() -> Path:
    """What to put on the path to import pycuda; it is there once pycuda is built."""
    return cache_folder() / f"pycuda-{VERSION}-{sysconfig.get_config_var('SOABI')}"


def is_there() -> bool:
    """Whether pycuda can be imported, from this environment or from the cache."""
    return importlib.util.find_spec("pycuda") is not None or pycuda_folder().is_dir()


def cuda_root() -> Path:
    """The toolkit whose headers are used.

    Raises:
        CannotBuild: there is none.
    """
    named = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    for root in (*named, Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True)):
        if (root / "include" / "cuda.h").is_file():
            return root
    raise CannotBuild("no CUDA headers: install the CUDA toolkit, or name its folder in CUDA_HOME")


def compile_driver(folder: Path, missing: tuple[str, ...] = ()) -> Path:
    """The fake driver as libcuda.so.1, with the names in `missing` as functions that say they are not there.

    Raises:
        CannotBuild: no compiler or no headers.
    """
    rest = folder / "missing.c"
    functions = (f'int {name}(void) {{ return fake_missing("{name}"); }}' for name in missing)
    rest.write_text("\n".join(["int fake_missing(const char *);", *functions, ""]), encoding="utf-8")
    library = folder / "libcuda.so.1"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    try:
        _run(
            "gcc", *flags, f"-I{cuda_root() / 'include'}", "-Wl,-soname,libcuda.so.1",
            "-o", str(library), str(SOURCE), str(rest),
        )  # fmt: skip
    except FileNotFoundError:
        raise CannotBuild("no gcc: install build-essential") from None
    return library


def build() -> None:
    """Build pycuda into the cache, unless it is there.

    Raises:
        CannotBuild: the message says what is missing.
    """
    if is_there():
        return
    place = pycuda_folder()
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            return
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            _build(Path(scratch)).rename(place)


def _build(scratch: Path) -> Path:
    libraries = scratch / "lib"
    libraries.mkdir()
    (libraries / "libcuda.so").symlink_to(compile_driver(libraries))
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    _run(*pip, "download", "--no-deps", "--no-binary", "pycuda", "-d", str(scratch), f"pycuda=={VERSION}")
    (archive,) = scratch.glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(scratch)
    source = scratch / archive.name.removesuffix(".tar.gz")
    where = [f"--cuda-root={cuda_root()}", f"--cudadrv-lib-dir={libraries}", "--no-cuda-enable-curand"]
    _run(sys.executable, "configure.py", *where, cwd=source)
    _run(*pip, "install", "--no-deps", "--target", str(scratch / "site"), ".", cwd=source)
    return scratch / "site"


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise CannotBuild(f"{' '.join(command[:4])} ... failed: {' '.join(last)}")


if __name__ == "__main__":
    try:
        build()
    except (CannotBuild, OSError) as reason:
        print(f"pycuda is not built, tests of TensorRT's engine are skipped: {reason}", file=sys.stderr)
