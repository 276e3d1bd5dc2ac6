"""A camera's driver when it fails: what it said, as a sentence that tells what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_resad.errors import CameraError


@contextmanager
def driver_says(what: str, then: str) -> Iterator[None]:
    """Whatever a vendor's library raises in here is a CameraError: `what`, the driver's own words, `then`.

    The libraries' exceptions share no base class.
    """
    try:
        yield
    except CameraError:
        raise
    except Exception as error:
        raise CameraError(f"{what}: {words_of(error)}. {then}") from error


def words_of(error: BaseException) -> str:
    """What an exception says, without the place in the driver's source that GenICam's put behind it."""
    text = str(error).partition(" : ")[0].strip()
    return (text.splitlines() or [type(error).__name__])[0].strip().rstrip(".")


def leave(*ends: Callable[[], object]) -> None:
    """Call all of them: a camera that was unplugged refuses every goodbye, and the next one is said all the same."""
    for end in ends:
        try:
            end()
        except Exception:
            continue
