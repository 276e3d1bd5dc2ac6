"""`python -m benchmarks`: the latency benchmark."""

import typer

from benchmarks.latency import main

if __name__ == "__main__":
    typer.run(main)
