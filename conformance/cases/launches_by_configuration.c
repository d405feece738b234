/* Launches by a configuration: a program of its own, since 6.4 does not have the functions. */
#include "hip.h"

static void launches_by_configuration(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8), add = 3;
    void *params[] = {&p, &add};
    hipLaunchConfig_t config = {one, block64, 0, s, NULL, 0}, bad = config;
    bad.block.x = 4096;
    for (int i = 0; i < 10; i++) {
        OK(hipLaunchKernelExC(&config, stub("counter"), params));
        OK(hipDrvLaunchKernelEx(&config, kernel("counter"), params, NULL));
    }
    SHOW(hipLaunchKernelExC(&bad, stub("counter"), params));
    SHOW(hipDrvLaunchKernelEx(&bad, kernel("counter"), params, NULL));
    OK(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

CASES(CASE(launches_by_configuration))
