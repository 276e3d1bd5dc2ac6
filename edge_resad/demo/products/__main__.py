"""`python -m edge_resad.demo.products [--factory] OUT.jpg`: write the contact sheet of all products and defects."""

import sys

from edge_resad.signals import interrupted_quietly

if __name__ == "__main__":
    with interrupted_quietly():
        from edge_resad.demo.products.sheet_file import main

        raise SystemExit(main(sys.argv[1:]))
