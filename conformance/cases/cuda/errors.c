/* Wrong calls: codes, and that the program goes on. */
#include "words.h"

static void bad_configurations(void) {
    uint64_t *p = device(8), add = 1;
    void *params[] = {&p, &add};
    hipFunction_t f = kernel("counter");
    SHOW(cuLaunchKernel(f, 0, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
    SHOW(cuLaunchKernel(f, 1, 1, 1, 2048, 1, 1, 0, NULL, params, NULL));
    SHOW(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    SHOW(cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    SHOW(cuLaunchKernelEx(NULL, f, params, NULL));
    SHOW(cuLaunchKernelEx_ptsz(NULL, f, params, NULL));
    SHOW(cuLaunchCooperativeKernelMultiDevice(NULL, 1, 0));
    count(p, 1, NULL);
    SHOW(cuCtxSynchronize());
    TRUE(*p == 1);
}

static void bad_images_and_names(void) {
    CUmodule module;
    CUfunction function;
    ready();
    SHOW(cuModuleLoadData(&module, "no image at all"));
    SHOW(cuModuleLoadData(&module, NULL));
    OK(cuModuleLoadData(&module, ".version 8.0\n.target sm_52\n.address_size 64\n.visible .entry counter() { ret; }"));
    SHOW(cuModuleGetFunction(&function, module, "fill"));
    SHOW(cuModuleGetFunction(&function, module, "counter"));
    SHOW(cuModuleUnload(module));
    SHOW(cuModuleUnload(module));
    SHOW(cuModuleGetFunction(&function, module, "counter"));
}

static void destroyed_handles(void) {
    hipStream_t s = stream_of(0);
    hipEvent_t event = event_of(0);
    uint64_t *p = device(8);
    count(p, 1, s);
    SHOW(cuEventRecord(event, s));
    SHOW(cuStreamDestroy_v2(s));
    SHOW(cuStreamSynchronize(s));
    SHOW(cuStreamQuery(s));
    SHOW(cuEventSynchronize(event));
    SHOW(cuEventDestroy_v2(event));
    SHOW(cuEventQuery(event));
    SHOW(cuEventRecord(event, NULL));
    SHOW(cuGraphLaunch((CUgraphExec)16, NULL));
    SHOW(cuCtxSynchronize());
    TRUE(*p == 1);
}

static void functions_that_are_not_simulated(void) {
    const char *name = "";
    ready();
    SHOW(cuGetErrorName(801, &name));
    say("%s", name);
    SHOW(cuGetErrorName(12345, &name));
    TRUE(!name);
}

CASES(CASE(bad_configurations), CASE(bad_images_and_names), CASE(destroyed_handles), CASE(functions_that_are_not_simulated))
