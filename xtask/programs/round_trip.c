/* Median nanoseconds of a launch and a synchronise on the simulated device:
 * round_trip KERNEL_NS ROUNDS */
#include "common.h"

static int less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    uint64_t ns = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    int rounds = argc > 2 ? atoi(argv[2]) : 1000;
    hipModule_t module;
    hipFunction_t kernel;
    hipStream_t stream;
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&kernel, module, "hipsim_spin"));
    CHECK(hipStreamCreate(&stream));
    void *parameters[] = {&ns};
    double *took = calloc(rounds, sizeof *took);
    for (int i = -rounds / 10; i < rounds; i++) {
        double start = seconds();
        CHECK(hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, stream, parameters, NULL));
        CHECK(hipStreamSynchronize(stream));
        if (i >= 0) took[i] = (seconds() - start) * 1e9;
    }
    qsort(took, rounds, sizeof *took, less);
    printf("%.1f\n", took[rounds / 2]);
    return 0;
}
