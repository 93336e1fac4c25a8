"""Tapeline beside Keras, PyTorch and JAX: `python -m benchmarks`."""
