"""The ``cupy`` backend: kernels of our own, in CUDA C++, for training on a GPU."""
