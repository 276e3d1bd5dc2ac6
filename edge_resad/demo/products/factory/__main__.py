"""`python -m edge_resad.demo.products.factory OUT`: write training material in the layout of MVTec AD."""

from edge_resad.signals import interrupted_quietly

if __name__ == "__main__":
    with interrupted_quietly():
        from edge_resad.demo.products.factory.verb import main  # takes a moment, in which somebody may think better

        main()
