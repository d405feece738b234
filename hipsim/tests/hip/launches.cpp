// A program as people write it: kernels launched with <<<>>> on the NULL stream and on created streams.
#include <hip/hip_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        hipError_t error = (call);                                                                 \
        if (error != hipSuccess) {                                                                 \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, hipGetErrorString(error)); \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

__global__ void vector_add(const float *a, const float *b, float *c, size_t n) {
    size_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}

namespace app {
__global__ void saxpy(float a, const float *x, float *y, size_t n) {
    size_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
}  // namespace app

__global__ void unknown(int *p) { *p = 1; }

__device__ int device_variable;

int main() {
    const size_t n = 10000;
    std::vector<float> a(n), b(n), c(n);
    for (size_t i = 0; i < n; i++) a[i] = float(i) * 0.25f, b[i] = 1.0f / float(i + 1);
    float *da, *db, *dc;
    CHECK(hipMalloc(&da, n * 4));
    CHECK(hipMalloc(&db, n * 4));
    CHECK(hipMalloc(&dc, n * 4));
    CHECK(hipMemcpy(da, a.data(), n * 4, hipMemcpyHostToDevice));
    CHECK(hipMemcpy(db, b.data(), n * 4, hipMemcpyHostToDevice));

    vector_add<<<dim3((n + 255) / 256), dim3(256)>>>(da, db, dc, n);
    CHECK(hipGetLastError());
    CHECK(hipMemcpy(c.data(), dc, n * 4, hipMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++)
        if (c[i] != a[i] + b[i]) return std::fprintf(stderr, "vector_add[%zu]\n", i), 1;

    hipStream_t stream;
    hipEvent_t start, stop;
    CHECK(hipStreamCreate(&stream));
    CHECK(hipEventCreate(&start));
    CHECK(hipEventCreate(&stop));
    CHECK(hipEventRecord(start, stream));
    for (int i = 0; i < 3; i++) app::saxpy<<<dim3(40), dim3(256), 0, stream>>>(2.0f, da, dc, n);
    unknown<<<1, 1, 0, stream>>>(nullptr);
    CHECK(hipEventRecord(stop, stream));
    CHECK(hipEventSynchronize(stop));
    float ms = 0;
    CHECK(hipEventElapsedTime(&ms, start, stop));
    CHECK(hipMemcpyAsync(c.data(), dc, n * 4, hipMemcpyDeviceToHost, stream));
    CHECK(hipStreamSynchronize(stream));
    for (size_t i = 0; i < n; i++) {
        float y = a[i] + b[i];
        for (int k = 0; k < 3; k++) {
            volatile float product = 2.0f * a[i];
            y = product + y;
        }
        if (c[i] != y) return std::fprintf(stderr, "saxpy[%zu] %g %g\n", i, c[i], y), 1;
    }

    int value = 42, back = 0;
    CHECK(hipMemcpyToSymbol(HIP_SYMBOL(device_variable), &value, sizeof value));
    CHECK(hipMemcpyFromSymbol(&back, HIP_SYMBOL(device_variable), sizeof back));
    if (back != 42) return 1;

    hipDeviceProp_t properties;
    CHECK(hipGetDeviceProperties(&properties, 0));
    unknown<<<1, 2048>>>(nullptr);
    if (hipGetLastError() != hipErrorInvalidConfiguration) return std::fprintf(stderr, "no error\n"), 1;
    CHECK(hipDeviceSynchronize());
    CHECK(hipFree(da));
    std::printf("ok %s %.1f ms\n", properties.gcnArchName, ms);
}
