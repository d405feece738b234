/* A service that never waits in a HIP call: requests of some kernels at their times, and the end of each is learnt in one of several ways.
 *
 *   hipsim-async --way function [--kernels 50] [--kernel-time 500us] [--period 100ms] [--warmup 400ms] [--duration 2s] [--ends FILE]
 *
 *   function   a host function behind the last kernel (hipLaunchHostFunc)
 *   callback   hipStreamAddCallback
 *   query      an event, asked about every 50 us
 *   chain      an event, another stream that waits for it, a host function there: what XLA does
 *   value      hipStreamWriteValue32, and the program polls the value
 *   silent     the last kernel counts in memory that the program polls: nothing but launches
 *
 * Requests come every half to one and a half periods, whether or not the one before is done (their latency counts from their time). Prints
 * {"p50_ns": n, "p90_ns": n, "p99_ns": n, "max_ns": n, "requests": n, "kernels": n}; --ends names a file for the times (CLOCK_MONOTONIC, ns, one a line)
 * at which the program saw the end of each measured request. */
#include <stdatomic.h>

#include "common.h"

hipError_t hipStreamAddCallback(hipStream_t stream, void (*callback)(hipStream_t, hipError_t, void *), void *data, unsigned flags);
hipError_t hipHostMalloc(void **pointer, size_t size, unsigned flags);
hipError_t hipStreamWriteValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags);

enum { MOST = 100000 };

static _Atomic uint64_t done;
static uint64_t latencies[MOST], ends[MOST];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void on_function(void *data) {
    (void)data;
    atomic_fetch_add(&done, 1);
}

static void on_callback(hipStream_t stream, hipError_t status, void *data) {
    (void)stream, (void)status, (void)data;
    atomic_fetch_add(&done, 1);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    static const char *const known[] = {"--way", "--kernels", "--kernel-time", "--period", "--warmup", "--duration", "--ends", NULL};
    check_options(argc, argv, known);
    const char *way = option(argc, argv, "--way", "function"), *file = option(argc, argv, "--ends", NULL);
    static const char *const ways[] = {"function", "callback", "query", "chain", "value", "silent"};
    int is = 0;
    while (is < 6 && strcmp(way, ways[is])) is++;
    long kernels = atol(option(argc, argv, "--kernels", "50"));
    if (is == 6 || kernels < 1) {
        fprintf(stderr, "--way is one of function, callback, query, chain, value, silent; --kernels is at least 1\n");
        return 2;
    }
    uint64_t ns = (uint64_t)(parse_duration(option(argc, argv, "--kernel-time", "500us")) * 1e9);
    double period = parse_duration(option(argc, argv, "--period", "100ms"));
    double warmup = parse_duration(option(argc, argv, "--warmup", "400ms"));
    double duration = parse_duration(option(argc, argv, "--duration", "2s"));

    hipModule_t module;
    hipFunction_t spin, count;
    hipStream_t compute, other;
    hipEvent_t event;
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&spin, module, "hipsim_spin"));
    CHECK(hipModuleGetFunction(&count, module, "counter"));
    CHECK(hipStreamCreateWithFlags(&compute, hipStreamNonBlocking));
    CHECK(hipStreamCreateWithFlags(&other, hipStreamNonBlocking));
    CHECK(hipEventCreateWithFlags(&event, hipEventDisableTiming));
    uint64_t *counted, one = 1;
    uint32_t *written;
    CHECK(hipHostMalloc((void **)&counted, sizeof *counted, 0));
    CHECK(hipHostMalloc((void **)&written, sizeof *written, 0));
    *counted = *written = 0;
    void *spins[] = {&ns}, *counts[] = {&counted, &one};

    double start = seconds(), arrival = start, measured = start + warmup, end = measured + duration;
    unsigned long requests = 0, all = 0;
    uint64_t random = 88172645463325252u;
    while (arrival < end && requests < MOST) {
        double begun = arrival;
        if (seconds() < arrival) {
            sleep_until(arrival);
            begun = seconds(); /* The timer's delay is nobody's latency. */
        }
        all++;
        for (long i = 0; i < kernels; i++)
            CHECK(hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, compute, spins, NULL));
        switch (is) {
        case 0: CHECK(hipLaunchHostFunc(compute, on_function, NULL)); break;
        case 1: CHECK(hipStreamAddCallback(compute, on_callback, NULL, 0)); break;
        case 2: CHECK(hipEventRecord(event, compute)); break;
        case 3:
            CHECK(hipEventRecord(event, compute));
            CHECK(hipStreamWaitEvent(other, event, 0));
            CHECK(hipLaunchHostFunc(other, on_function, NULL));
            break;
        case 4: CHECK(hipStreamWriteValue32(compute, written, (uint32_t)all, 0)); break;
        default: CHECK(hipModuleLaunchKernel(count, 1, 1, 1, 64, 1, 1, 0, compute, counts, NULL));
        }
        for (;;) {
            int ended = is == 2   ? hipEventQuery(event) == hipSuccess
                        : is == 4 ? __atomic_load_n(written, __ATOMIC_SEQ_CST) == (uint32_t)all
                        : is == 5 ? __atomic_load_n(counted, __ATOMIC_SEQ_CST) == all
                                  : atomic_load(&done) == all;
            if (ended) break;
            sleep_until(seconds() + 50e-6);
        }
        if (arrival >= measured) {
            ends[requests] = now_ns();
            latencies[requests++] = (uint64_t)((seconds() - begun) * 1e9);
        }
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        arrival += period * (0.5 + (double)(random >> 11) / 9007199254740992.0);
    }
    if (file) {
        FILE *out = fopen(file, "w");
        if (!out) return perror(file), 1;
        for (unsigned long i = 0; i < requests; i++) fprintf(out, "%llu\n", (unsigned long long)ends[i]);
        fclose(out);
    }
    qsort(latencies, requests, sizeof *latencies, by_size);
#define AT(part) (requests ? (unsigned long long)latencies[(unsigned long)((part) * (double)(requests - 1) + 0.999)] : 0)
    printf("{\"p50_ns\": %llu, \"p90_ns\": %llu, \"p99_ns\": %llu, \"max_ns\": %llu, \"requests\": %lu, \"kernels\": %lu}\n", AT(0.5), AT(0.9), AT(0.99),
           AT(1.0), requests, requests * (unsigned long)kernels);
    return 0;
}
