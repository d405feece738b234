/* Times kernels of 20 us between two events, as an autotuner does, line by line:
 *
 *     time ROUNDS LAUNCHES   the times that the events say, in us, one line
 *     issue ROUNDS LAUNCHES  the same, but how long it took until the last one was launched
 *     length US              kernels take so long from here on; no answer
 *     record ROUNDS          events that keep no time, each behind one launch: how long that took, in us
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hipsim.h"

static hipFunction_t spin;
static hipStream_t stream;

static long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void must(hipError_t error) {
    if (error) exit(1);
}

static uint64_t ns = 20000;

static void launch(void) {
    void *arguments[] = {&ns};
    must(hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, stream, arguments, NULL));
}

int main(void) {
    hipModule_t module;
    hipEvent_t start, stop, plain;
    char word[16];
    int rounds, launches;
    must(hipModuleLoadData(&module, HIPSIM_MODULE));
    must(hipModuleGetFunction(&spin, module, "hipsim_spin"));
    must(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    must(hipEventCreate(&start));
    must(hipEventCreateWithFlags(&stop, 0));
    must(hipEventCreateWithFlags(&plain, hipEventDisableTiming));
    launch(); /* joins */
    must(hipDeviceSynchronize());
    puts("joined");
    fflush(stdout);
    while (scanf("%15s %d", word, &rounds) == 2) {
        if (!strcmp(word, "length")) {
            ns = rounds * 1000ull;
            continue;
        }
        if (!strcmp(word, "time") || !strcmp(word, "issue")) {
            if (scanf("%d", &launches) != 1) return 2;
            for (int i = 0; i < rounds; i++) {
                float ms;
                must(hipEventRecord(start, stream));
                long begun = now_us();
                for (int k = 0; k < launches; k++) launch();
                long issued = now_us() - begun;
                must(hipEventRecord(stop, stream));
                must(hipEventSynchronize(stop));
                must(hipEventElapsedTime(&ms, start, stop));
                printf("%s%.0f", i ? " " : "", *word == 't' ? ms * 1000 : issued);
            }
            puts("");
        } else {
            long begun = now_us();
            for (int i = 0; i < rounds; i++) {
                launch();
                must(hipEventRecord(plain, stream));
            }
            printf("%ld\n", now_us() - begun);
        }
        fflush(stdout);
    }
    return 0;
}
