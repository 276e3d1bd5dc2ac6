"""The program `edge-resad`, and `python -m edge_resad VERB` for who starts processes by a module, such as torchrun."""

import os
import sys

from edge_resad.signals import interrupted_quietly


def main() -> None:
    """Run the command line."""
    with interrupted_quietly():
        from edge_resad.cli import main as run  # takes a moment, in which somebody may think better of it

        try:
            run()
        except SystemExit as end:
            _leave_cameras_behind(end.code)
            raise


def _leave_cameras_behind(code: object) -> None:
    """End at once where a camera hangs in a driver's code: Python's own end would abort it, and us with it."""
    import logging  # not above: what is imported there is heard of by nobody who interrupts it

    handover = sys.modules.get("edge_resad.device.handover")  # only a station has it
    if handover is not None and handover.left_behind(patience_s=0.5):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
