/* Launches on the default stream at a steady rate, as frameworks do that never create a stream.
 *
 *   hipsim-nullstream [--duration 10s] [--period 1ms] */
#include "common.h"

int main(int argc, char **argv) {
    static const char *const known[] = {"--duration", "--period", NULL};
    check_options(argc, argv, known);
    const char *duration = option(argc, argv, "--duration", NULL);
    double period = parse_duration(option(argc, argv, "--period", "1ms"));
    stop_on_signals();

    hipModule_t module;
    hipFunction_t kernel;
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&kernel, module, "nullstream_kernel"));

    double start = seconds(), end = duration ? start + parse_duration(duration) : 0;
    unsigned long kernels = 0;
    while (!stopped && (end == 0 || seconds() < end)) {
        CHECK(hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, NULL, NULL, NULL));
        kernels++;
        if (kernels % 64 == 0) CHECK(hipStreamSynchronize(NULL));
        sleep_until(start + (double)kernels * period);
    }
    CHECK(hipDeviceSynchronize());
    printf("{\"kernels\": %lu, \"per_s\": %.1f}\n", kernels, (double)kernels / (seconds() - start));
    return 0;
}
