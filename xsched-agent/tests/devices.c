/* Batch work on every device at once, a thread for each: kernels of 2 ms, four ahead. At SIGTERM prints
 * {"per_s": [kernels per second of each device]}. */
#include <pthread.h>

#include "common.h"

hipError_t hipGetDeviceCount(int *count);
hipError_t hipSetDevice(int device);

enum { MaxDevices = 8, Ahead = 4 };
static unsigned long kernels[MaxDevices];

static void *work(void *number) {
    int device = (int)(long)number;
    hipModule_t module;
    hipFunction_t kernel;
    hipStream_t stream;
    hipEvent_t done[Ahead];
    uint64_t ns = 2000000;
    void *parameters[] = {&ns};
    CHECK(hipSetDevice(device));
    CHECK(hipModuleLoadData(&module, HIPSIM_MODULE));
    CHECK(hipModuleGetFunction(&kernel, module, "hipsim_spin"));
    CHECK(hipStreamCreate(&stream));
    for (int i = 0; i < Ahead; i++) CHECK(hipEventCreateWithFlags(&done[i], hipEventDisableTiming));
    for (int i = 0; !stopped; i = (i + 1) % Ahead) {
        CHECK(hipEventSynchronize(done[i]));
        CHECK(hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, stream, parameters, NULL));
        CHECK(hipEventRecord(done[i], stream));
        __atomic_fetch_add(&kernels[device], 1, __ATOMIC_RELAXED);
    }
    CHECK(hipStreamSynchronize(stream));
    return NULL;
}

int main(void) {
    pthread_t threads[MaxDevices];
    int count;
    stop_on_signals();
    CHECK(hipGetDeviceCount(&count));
    double begun = seconds();
    for (long i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    double elapsed = seconds() - begun;
    printf("{\"per_s\": [");
    for (int i = 0; i < count; i++) printf("%s%.1f", i ? ", " : "", (double)kernels[i] / elapsed);
    puts("]}");
    return 0;
}
