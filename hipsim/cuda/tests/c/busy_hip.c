/* The same as busy_cuda.c on HIP, with kernels back to back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int hipModuleLoadData(void **module, const void *image);
int hipModuleGetFunction(void **function, void *module, const char *name);
int hipModuleLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                          void *stream, void **params, void **extra);
int hipDeviceSynchronize(void);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
    void *module, *spin;
    uint64_t ns = 1000000;
    void *params[] = {&ns};
    double end = now() + (argc > 1 ? atof(argv[1]) : 100);
    if (hipModuleLoadData(&module, "hipsim") || hipModuleGetFunction(&spin, module, "hipsim_spin")) return 1;
    while (now() < end) {
        for (int i = 0; i < 20; i++)
            if (hipModuleLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL)) return 2;
        if (hipDeviceSynchronize()) return 2;
    }
    return 0;
}
