"""An export that looks before it writes: a bundle whose precisions do not agree stays where it was made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_resad.bundle import Bundle, write_bundle
from edge_resad.errors import BundleError
from edge_resad.model.profile import Profile
from export.build import make_draft
from export.ranges import Ranges
from export.sample import drawn_samples
from export.verification import Progress, compare

FAMILIES = ("flange", "board")
"""Of the drawn parts that an export looks at: bare metal, and something printed and full of detail."""


def build_verified(
    profile: Profile,
    path: Path,
    head: Path | None = None,
    ranges: Ranges | None = None,
    *,
    force: bool = False,
    families: Sequence[str] = FAMILIES,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda stage, done, total: None,
) -> Bundle:
    """Export as `build_bundle` does, compare the precisions on drawn parts, and write the bundle with the report.

    force:    write it even if it misses its budget; the manifest then says so.
    families: of the drawn parts.

    Raises:
        BundleError: as `build_bundle`, or the precisions disagree by more than `export.budget` allows.
        CalibrationError, TrainingError: as `build_bundle`.
    """
    draft = make_draft(profile, head, ranges, say)
    with tempfile.TemporaryDirectory() as folder:
        scratch = write_bundle(Path(folder) / "bundle", draft.manifest, draft.files)
        report = compare(scratch, drawn_samples(draft.manifest, families), progress=progress)
    missed = report.misses
    if missed and not force:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        raise BundleError(
            f"the precisions do not agree: {missed[0]}{more}. The bundle is not written: give ranges of more and other "
            "frames (python -m calibration ranges), leave INT8 out (--ranges none), or see the report of one that is "
            "written all the same (--force)."
        )
    verified = report.summary(forced=bool(missed))
    manifest = draft.manifest.model_copy(update={"verified": verified})
    return write_bundle(path, manifest, {**draft.files, verified.report: report.content})
