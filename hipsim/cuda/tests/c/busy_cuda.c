/* Prints how many kernels of a millisecond ran in the time that the argument says, in ms. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int cuInit(unsigned flags);
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuCtxSetCurrent(void *context);
int cuCtxSynchronize(void);
int cuModuleLoadData(void **module, const void *image);
int cuModuleGetFunction(void **function, void *module, const char *name);
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **params, void **extra);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
    void *context, *module, *spin;
    uint64_t ns = 1000000;
    void *params[] = {&ns};
    double end = now() + (argc > 1 ? atof(argv[1]) : 100);
    int kernels = 0;
    if (cuInit(0) || cuDevicePrimaryCtxRetain(&context, 0) || cuCtxSetCurrent(context) || cuModuleLoadData(&module, "hipsim") ||
        cuModuleGetFunction(&spin, module, "hipsim_spin"))
        return 1;
    for (; now() < end; kernels++)
        if (cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL) || cuCtxSynchronize()) return 2;
    printf("%d\n", kernels);
    return 0;
}
