"""`python -m calibration`: what INT8 has to know of real frames, and what a precision does to thresholds."""

from edge_resad.signals import interrupted_quietly

if __name__ == "__main__":
    with interrupted_quietly():
        from calibration.verbs import main  # torch and onnx take seconds, in which somebody may think better of it

        main()
