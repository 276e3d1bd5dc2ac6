"""`python -m edge_resad VERB`: the command line, for who starts processes by a module, such as torchrun."""

from edge_resad.cli import main

main()
