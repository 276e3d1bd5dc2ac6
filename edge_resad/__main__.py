"""The program `edge-resad`, and `python -m edge_resad VERB` for who starts processes by a module, such as torchrun."""

from edge_resad.signals import interrupted_quietly


def main() -> None:
    """Run the command line."""
    with interrupted_quietly():
        from edge_resad.cli import main as run  # takes a moment, in which somebody may think better of it

        run()


if __name__ == "__main__":
    main()
