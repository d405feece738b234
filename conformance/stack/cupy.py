"""CuPy: array expressions, a kernel of the program's own, rocBLAS, rocFFT and rocRAND through it."""
import sys
import time

sys.path.pop(0)  # this folder has files of the libraries' names
import cupy

a = cupy.arange(1000, dtype=cupy.float32)
b = a * 2 + 1
kernel = cupy.RawKernel('extern "C" __global__ void ones(float *x) { x[threadIdx.x] = 1; }', "ones")
for _ in range(10):
    kernel((1,), (64,), (a,))
stream = cupy.cuda.Stream()
with stream:
    for _ in range(10):
        m = cupy.ones((64, 64), dtype=cupy.float32)
        m @ m
stream.synchronize()
cupy.fft.fft(cupy.ones(256, dtype=cupy.complex64))
cupy.random.random(100)
cupy.cuda.Stream.null.synchronize()
print("done", b.shape)
time.sleep(0.3)  # callers are named while their process lives
