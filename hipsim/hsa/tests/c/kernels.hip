// Kernels that the simulator knows by name, and one that it does not.
#include <hip/hip_runtime.h>

extern "C" __global__ void counter(uint64_t *at, uint64_t add) { *at += add; }
extern "C" __global__ void hipsim_spin(uint64_t ns) {}
extern "C" __global__ void unknown(int *at) { *at = 1; }
__device__ int variable = 42;
__constant__ int constant = 7;

// A name that the simulator knows, with other arguments.
extern "C" __global__ void fill(uint32_t *to, uint32_t value, uint32_t n, uint32_t *mask) { to[n] = value; }
// Names of the HIP runtime's own.
extern "C" __global__ void __amd_rocclr_copyBuffer(char *from, char *to, uint64_t size) {}
extern "C" __global__ void __amd_rocclr_copyImage(int *at) {}
extern "C" __global__ void __amd_rocclr_batchMemOp(void *operations, uint32_t count) {}
extern "C" __global__ void __amd_rocclr_initHeap(void *heap) {}
