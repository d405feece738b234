/* The same through hipsim's HIP face: kernels of 20 ms until the file exists. */
#include "hipsim.h"

#include <stdio.h>
#include <unistd.h>

int main(int count, char **arguments) {
    hipModule_t module;
    hipFunction_t spin;
    uint64_t ns = 20000000;
    void *parameters[] = {&ns};
    if (count != 2 || hipModuleLoadData(&module, HIPSIM_MODULE) || hipModuleGetFunction(&spin, module, "hipsim_spin"))
        return 1;
    puts("ready");
    fflush(stdout);
    while (access(arguments[1], F_OK))
        if (hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, NULL, parameters, NULL) || hipDeviceSynchronize()) return 1;
    return 0;
}
