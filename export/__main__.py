"""`python -m export`: write a bundle of a profile, and say what a bundle costs and whether its precisions agree."""

from edge_resad.signals import interrupted_quietly

if __name__ == "__main__":
    with interrupted_quietly():
        from export.verbs import main  # torch and onnx take seconds, in which somebody may think better of it

        main()
