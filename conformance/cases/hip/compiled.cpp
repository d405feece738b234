// Programs as people write them, compiled by hipcc: <<<>>> launches, static constructors, modules from code objects.
#include <hip/hip_runtime.h>

#include <thread>
#include <vector>

#include "transcript.h"

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

__global__ void counter(unsigned long *at, unsigned long add) { *at += add; }
__global__ void unknown(int *p) { *p = 1; }
__device__ int device_variable;

static const size_t N = 10000;

struct Vectors {
    std::vector<float> host = std::vector<float>(N);
    float *a, *b, *c;

    Vectors() {
        for (float **p : {&a, &b, &c}) {
            OK(hipMalloc((void **)p, N * 4));
            for (size_t i = 0; i < N; i++) host[i] = float(i) * 0.25f + float(p - &a);
            OK(hipMemcpy(*p, host.data(), N * 4, hipMemcpyHostToDevice));
        }
    }
};

static void chevron_launches() {
    Vectors v;
    hipStream_t stream;
    OK(hipStreamCreate(&stream));
    for (int i = 0; i < 40; i++) {
        vector_add<<<dim3(40), dim3(256)>>>(v.a, v.b, v.c, N);
        app::saxpy<<<dim3(40), dim3(256), 0, stream>>>(0.5f * float(i), v.a, v.c, N);
        if (i % 3 == 0) unknown<<<1, 1, 0, stream>>>(nullptr);
        OK(hipGetLastError());
    }
    OK(hipMemcpy(v.host.data(), v.c, N * 4, hipMemcpyDeviceToHost));
    say("c %lx", checksum(v.host.data(), N * 4));
    TRUE(v.host[4] == v.host[4] && v.host[0] == 1.0f);
    unknown<<<1, 2048>>>(nullptr);
    SHOW(hipGetLastError());
    unknown<<<0, 64>>>(nullptr);
    SHOW(hipGetLastError());
    int value = 42, back = 0;
    OK(hipMemcpyToSymbol(HIP_SYMBOL(device_variable), &value, sizeof value));
    OK(hipMemcpyFromSymbol(&back, HIP_SYMBOL(device_variable), sizeof back));
    say("variable %d", back);
    SHOW(hipDeviceSynchronize());
}

static void chevron_launches_of_many_threads() {
    unsigned long *counts;
    OK(hipMalloc((void **)&counts, 4 * 64));
    OK(hipMemset(counts, 0, 4 * 64));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([=] {
            for (int i = 0; i < 100; i++) counter<<<1, 64, 0, hipStreamPerThread>>>(counts + 8 * t, t + 1);
            OK(hipStreamSynchronize(hipStreamPerThread));
        });
    for (auto &thread : threads) thread.join();
    for (int t = 0; t < 4; t++) say("thread %d: %lu", t, counts[8 * t]);
}

// Objects with a static life: HIP calls before and after main.
static struct Global {
    unsigned long *count = nullptr;
    bool wanted = false;

    void launch(const char *when) {
        for (int i = 0; i < 30; i++) counter<<<1, 64>>>(count, 1);
        OK(hipDeviceSynchronize());
        say("%s: %lu", when, *count);
    }

    Global() {
        FILE *file = fopen("/proc/self/cmdline", "r");
        char line[4096] = "";
        size_t size = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        const char *argument = line + strlen(line) + 1;
        wanted = argument < line + size && !strcmp(argument, "static_objects_use_hip");
        if (!wanted) return;
        OK(hipMalloc((void **)&count, 8));
        OK(hipMemset(count, 0, 8));
        launch("before main");
    }

    ~Global() {
        if (wanted) launch("after main");
    }
} global;

static void static_objects_use_hip() { global.launch("main"); }

static void modules_of_code_objects() {
    Vectors v;
    hipModule_t module;
    hipFunction_t add, fill, none;
    OK(hipModuleLoad(&module, "kernels.co"));
    OK(hipModuleGetFunction(&add, module, "vector_add"));
    OK(hipModuleGetFunction(&fill, module, "fill"));
    SHOW(hipModuleGetFunction(&none, module, "no_such_kernel"));
    for (int i = 0; i < 30; i++) {
        size_t n = N;
        unsigned value = 0x3f800000 + i;
        void *added[] = {&v.a, &v.c, &v.c, &n}, *filled[] = {&v.b, &value, &n};
        OK(hipModuleLaunchKernel(add, 40, 1, 1, 256, 1, 1, 0, nullptr, added, nullptr));
        OK(hipModuleLaunchKernel(fill, 40, 1, 1, 256, 1, 1, 0, nullptr, filled, nullptr));
        n = 0;
    }
    OK(hipMemcpy(v.host.data(), v.c, N * 4, hipMemcpyDeviceToHost));
    say("c %lx", checksum(v.host.data(), N * 4));
    OK(hipMemcpy(v.host.data(), v.b, N * 4, hipMemcpyDeviceToHost));
    say("b %lx", checksum(v.host.data(), N * 4));
    SHOW(hipModuleUnload(module));
    SHOW(hipModuleLoad(&module, "no-such-file.co"));
}

CASES(CASE(chevron_launches), CASE(chevron_launches_of_many_threads), CASE(static_objects_use_hip),
      CASE(modules_of_code_objects))
