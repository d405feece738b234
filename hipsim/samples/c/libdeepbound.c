/* A library that launches kernels. */
#include "common.h"

int deepbound_launch(void) {
    static hipModule_t module;
    static hipFunction_t kernel;
    uint64_t ns = 0;
    void *parameters[] = {&ns};
    if (!module) {
        CHECK(hipsimLoadModule(&module));
        CHECK(hipModuleGetFunction(&kernel, module, "nullstream_kernel"));
    }
    return hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, NULL, parameters, NULL);
}
