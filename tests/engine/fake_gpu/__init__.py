"""A GPU that is not there: a CUDA driver in C for the real pycuda, and a TensorRT that runs graphs in ONNX Runtime."""
