/* A hardware queue filled to the brim with work that waits for a launch on another stream. */
#include <stdio.h>

#include "hipsim.h"

hipError_t hipStreamWaitValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags, uint32_t mask);

/* A packet for the wait, and as many kernels as make the queue of 16,384 packets (and hipsim's) have no room. */
enum { KERNELS = 16382 };

int main(void) {
    hipModule_t module;
    hipFunction_t fill, spin;
    hipStream_t full, other;
    uint32_t *flag, one = 1;
    uint64_t ns = 1;
    size_t n = 1;
    hipModuleLoadData(&module, HIPSIM_MODULE);
    hipModuleGetFunction(&fill, module, "fill");
    hipModuleGetFunction(&spin, module, "hipsim_spin");
    hipMalloc((void **)&flag, 4);
    *flag = 0;
    hipStreamCreateWithFlags(&full, hipStreamNonBlocking);
    hipStreamCreateWithFlags(&other, hipStreamNonBlocking);
    void *short_time[] = {&ns}, *set[] = {&flag, &one, &n};
    hipStreamWaitValue32(full, flag, 1, 1, ~0u);
    for (int i = 0; i < KERNELS; i++) hipModuleLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, full, short_time, NULL);
    puts("full");
    fflush(stdout);
    getchar(); /* until the gate is capped */
    hipModuleLaunchKernel(fill, 1, 1, 1, 1, 1, 1, 0, other, set, NULL);
    puts("launched");
    fflush(stdout);
    printf("%d\n", hipDeviceSynchronize());
    return 0;
}
