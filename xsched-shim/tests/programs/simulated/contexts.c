/* Launches on two devices, which are chosen by context and not by hipSetDevice. */
#include <stdio.h>

#include "hipsim.h"

typedef void *hipCtx_t;
hipError_t hipSetDevice(int device);
hipError_t hipDevicePrimaryCtxRetain(hipCtx_t *context, int device);
hipError_t hipCtxSetCurrent(hipCtx_t context);
hipError_t hipCtxPushCurrent(hipCtx_t context);
hipError_t hipCtxPopCurrent(hipCtx_t *context);

static hipFunction_t function;

static void launch(int n) {
    uint64_t ns = 1000;
    void *parameters[] = {&ns};
    while (n--) hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL);
}

int main(void) {
    hipModule_t module;
    hipCtx_t context[2];
    int error = 0;
    for (int i = 0; i < 2; i++) error |= hipDevicePrimaryCtxRetain(&context[i], i);
    error |= hipSetDevice(0);
    error |= hipModuleLoadData(&module, HIPSIM_MODULE);
    error |= hipModuleGetFunction(&function, module, "hipsim_spin");
    launch(1);
    error |= hipCtxSetCurrent(context[1]);
    launch(20);
    error |= hipDeviceSynchronize();
    error |= hipCtxPushCurrent(context[0]);
    launch(300);
    error |= hipDeviceSynchronize();
    printf("%d\n", error);
    fflush(stdout);
    return getchar() == 0;
}
