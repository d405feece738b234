/* Milliseconds of the first launch of a program with many libraries mapped:
 * first_launch LIBRARY... Under the shim it finds the runtime and joins. */
#include "common.h"
#include <dlfcn.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!dlopen(argv[i], RTLD_NOW | RTLD_LOCAL)) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
    hipModule_t module;
    hipFunction_t kernel;
    hipStream_t stream;
    uint64_t ns = 0;
    void *parameters[] = {&ns};
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&kernel, module, "hipsim_spin"));
    CHECK(hipStreamCreate(&stream));
    double start = seconds();
    CHECK(hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, stream, parameters, NULL));
    printf("%.4f\n", (seconds() - start) * 1e3);
    CHECK(hipStreamSynchronize(stream));
    return 0;
}
