/* A program whose launches go through libversioned.so and so past any shim that lacks the library's version node.
 *
 *   hipsim-versioned [--duration 10s] [--period 1ms] */
#include "common.h"

hipError_t versioned_launch(const void *stub, void **parameters, hipStream_t stream);

/* Its address names the kernel, as with the host stubs hipcc makes. */
static void stub(void) {}

int main(int argc, char **argv) {
    static const char *const known[] = {"--duration", "--period", NULL};
    check_options(argc, argv, known);
    const char *duration = option(argc, argv, "--duration", NULL);
    double period = parse_duration(option(argc, argv, "--period", "1ms"));
    stop_on_signals();

    static const hipsimFatBinaryWrapper wrapper = {HIPSIM_FAT_BINARY_MAGIC, 1, NULL, NULL};
    char name[] = "versioned_kernel";
    void **module = __hipRegisterFatBinary(&wrapper);
    __hipRegisterFunction(module, (const void *)stub, name, name, -1, NULL, NULL, NULL, NULL, NULL);
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));

    double start = seconds(), end = duration ? start + parse_duration(duration) : 0;
    unsigned long kernels = 0;
    while (!stopped && (end == 0 || seconds() < end)) {
        CHECK(versioned_launch((const void *)stub, NULL, stream));
        kernels++;
        if (kernels % 64 == 0) CHECK(hipStreamSynchronize(stream));
        sleep_until(start + (double)kernels * period);
    }
    CHECK(hipStreamSynchronize(stream));
    printf("{\"kernels\": %lu, \"per_s\": %.1f}\n", kernels, (double)kernels / (seconds() - start));
    return 0;
}
