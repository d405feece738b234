// The kernels that the cases in C launch, as real code: a real runtime takes no other. The simulated device computes them by
// name (hipsim/device/src/known.rs), whatever the code says; on a GPU they would compute the same with one thread.
#include <hip/hip_runtime.h>

extern "C" __global__ void vector_add(const float *a, const float *b, float *c, size_t n) {
    for (size_t i = 0; i < n; i++) c[i] = a[i] + b[i];
}

extern "C" __global__ void saxpy(float a, const float *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a * x[i] + y[i];
}

extern "C" __global__ void fill(uint32_t *to, uint32_t value, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = value;
}

extern "C" __global__ void reduce(const float *in, float *out, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += in[i];
    *out = sum;
}

extern "C" __global__ void counter(uint64_t *at, uint64_t add) { *at += add; }

extern "C" __global__ void hipsim_spin(uint64_t ns) {}

extern "C" __global__ void anything() {}
