// Kernels that the simulator knows by name, and one that it does not.
#include <hip/hip_runtime.h>

extern "C" __global__ void counter(uint64_t *at, uint64_t add) { *at += add; }
extern "C" __global__ void hipsim_spin(uint64_t ns) {}
extern "C" __global__ void unknown(int *at) { *at = 1; }
__device__ int variable = 42;
__constant__ int constant = 7;
