/* Batch work: kernels back to back on one stream, a bounded number ahead of the device.
 *
 *   hipsim-batch [--duration 10s] [--kernels 5000] [--ahead 256] [--kernel batch_kernel] [--kernel-time 300us]
 *
 * Runs until the duration ends, so many kernels are launched or SIGTERM/SIGINT, then prints {"kernels": n, "per_s": x}. The kernel's duration is that of
 * HIPSIM_KERNELS for its name, or the given time (through the simulator's hipsim_spin kernel). */
#include "common.h"

enum { GROUPS = 4 };

int main(int argc, char **argv) {
    static const char *const known[] = {"--duration", "--kernels", "--ahead", "--kernel", "--kernel-time", NULL};
    check_options(argc, argv, known);
    const char *duration = option(argc, argv, "--duration", NULL);
    const char *time = option(argc, argv, "--kernel-time", NULL);
    const char *name = option(argc, argv, "--kernel", time ? "hipsim_spin" : "batch_kernel");
    long ahead = atol(option(argc, argv, "--ahead", "256"));
    if (ahead < GROUPS) {
        fprintf(stderr, "--ahead must be at least %d\n", GROUPS);
        return 2;
    }
    long most = atol(option(argc, argv, "--kernels", "0"));
    if (most < 0) {
        fprintf(stderr, "--kernels must not be negative (0: no limit)\n");
        return 2;
    }
    stop_on_signals();

    hipModule_t module;
    hipFunction_t kernel;
    hipStream_t stream;
    hipEvent_t done[GROUPS];
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&kernel, module, name));
    CHECK(hipStreamCreate(&stream));
    for (int i = 0; i < GROUPS; i++) CHECK(hipEventCreateWithFlags(&done[i], hipEventDisableTiming));

    uint64_t ns = time ? (uint64_t)(parse_duration(time) * 1e9) : 0;
    void *parameters[] = {&ns};
    double start = seconds(), end = duration ? start + parse_duration(duration) : 0;
    unsigned long kernels = 0;
    /* Groups of launches with an event each; waiting for the oldest group keeps the device busy meanwhile. */
    for (unsigned long group = 0; !stopped && (end == 0 || seconds() < end) && (most == 0 || kernels < (unsigned long)most); group++) {
        hipEvent_t event = done[group % GROUPS];
        CHECK(hipEventSynchronize(event));
        for (long i = 0; i < ahead / GROUPS && (most == 0 || kernels < (unsigned long)most); i++) {
            CHECK(hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, stream, parameters, NULL));
            kernels++;
        }
        CHECK(hipEventRecord(event, stream));
    }
    CHECK(hipStreamSynchronize(stream));
    double elapsed = seconds() - start;
    printf("{\"kernels\": %lu, \"per_s\": %.1f}\n", kernels, (double)kernels / elapsed);
    return 0;
}
