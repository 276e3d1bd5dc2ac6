"""Where the documents' figures come from (`python -m benchmarks.latency`)."""
