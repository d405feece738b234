/* Rounds of ten kernels of 20 us, each with a callback behind it that launches another one on a second stream. For each
 * line "run MS" it says in one line
 *
 *     ROUNDS CALLS WORST_US
 *
 * the rounds in that time, the callbacks, and the longest launch in one of them. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hipsim.h"

typedef void (*callback_t)(hipStream_t stream, hipError_t error, void *data);
hipError_t hipStreamAddCallback(hipStream_t stream, callback_t callback, void *data, unsigned flags);

static hipFunction_t spin;
static hipStream_t first, second;
static volatile long calls, worst;

static long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void must(hipError_t error) {
    if (error) abort();
}

static void launch(hipStream_t stream) {
    uint64_t ns = 20000;
    void *arguments[] = {&ns};
    must(hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, stream, arguments, NULL));
}

static void behind(hipStream_t stream, hipError_t error, void *data) {
    must(error);
    if (stream != first || data != &calls) abort();
    long begun = now_us();
    launch(second);
    long took = now_us() - begun;
    if (took > worst) worst = took;
    calls++;
}

int main(void) {
    hipModule_t module;
    int ms;
    must(hipModuleLoadData(&module, HIPSIM_MODULE));
    must(hipModuleGetFunction(&spin, module, "hipsim_spin"));
    must(hipStreamCreateWithFlags(&first, hipStreamNonBlocking));
    must(hipStreamCreateWithFlags(&second, hipStreamNonBlocking));
    launch(first); /* joins */
    must(hipDeviceSynchronize());
    puts("joined");
    fflush(stdout);
    while (scanf(" run %d", &ms) == 1) {
        long end = now_us() + 1000l * ms;
        int rounds = 0;
        for (calls = worst = 0; now_us() < end; rounds++) {
            for (int i = 0; i < 10; i++) {
                launch(first);
                must(hipStreamAddCallback(first, behind, (void *)&calls, 0));
            }
            must(hipStreamSynchronize(first));
            must(hipStreamSynchronize(second));
        }
        printf("%d %ld %ld\n", rounds, calls, worst);
        fflush(stdout);
    }
    return 0;
}
