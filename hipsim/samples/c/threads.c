/* Threads of one program, one of them favoured: a server in a trainer.
 *
 *   hipsim-threads [--threads 30] [--by none|hint|name] [--kernels 4] [--kernel-time 100us] [--own-kernels 4] [--period 0ms]
 *                  [--warmup 500ms] [--duration 2s]
 *
 * Each thread has a stream of its own and launches kernels and waits for them, again and again; the first one does so every
 * period and measures how long that takes. --by says how the others are put below it: not at all, by the program's hint
 * (xsched.h), or by their names (train-1, train-2, ...; the first is called serve), for which a rule is needed. With
 * --threads 1 it is alone. Prints {"p50_ns": n, "p99_ns": n, "requests": n, "own_kernels": n, "other_kernels": n, "seconds": x}. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>

#include "common.h"
#include "xsched.h"

enum { MOST = 200000 };

static uint64_t latencies[MOST];
static uint64_t kernel_ns;
static long kernels;
static double measured, end;
static const char *by;
static hipFunction_t spin;

struct worker {
    int number;
    unsigned long kernels;
};

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void name(const char *text) {
    if (!strcmp(by, "name")) prctl(PR_SET_NAME, text, 0, 0, 0);
}

static void launch(hipStream_t stream, long count) {
    void *params[] = {&kernel_ns};
    for (long i = 0; i < count; i++) CHECK(hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, stream, params, NULL));
}

static hipStream_t stream_of_own(void) {
    hipStream_t stream;
    CHECK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    return stream;
}

static void *train(void *data) {
    struct worker *worker = data;
    char own[16];
    snprintf(own, sizeof own, "train-%d", worker->number);
    name(own);
    if (!strcmp(by, "hint")) xsched_thread_class(XSCHED_LOW);
    hipStream_t stream = stream_of_own();
    for (;;) {
        double begun = seconds();
        if (begun >= end) return NULL;
        launch(stream, kernels);
        CHECK(hipStreamSynchronize(stream));
        double now = seconds();
        if (begun >= measured && now < end) worker->kernels += (unsigned long)kernels;
    }
}

int main(int argc, char **argv) {
    static const char *const known[] = {"--threads", "--by", "--kernels", "--kernel-time", "--own-kernels", "--period", "--warmup", "--duration", NULL};
    check_options(argc, argv, known);
    long threads = atol(option(argc, argv, "--threads", "30"));
    by = option(argc, argv, "--by", "none");
    kernels = atol(option(argc, argv, "--kernels", "4"));
    long own_kernels = atol(option(argc, argv, "--own-kernels", "4"));
    kernel_ns = (uint64_t)(parse_duration(option(argc, argv, "--kernel-time", "100us")) * 1e9);
    double period = parse_duration(option(argc, argv, "--period", "0ms"));
    double warmup = parse_duration(option(argc, argv, "--warmup", "500ms"));
    double duration = parse_duration(option(argc, argv, "--duration", "2s"));
    if (threads < 1 || threads > 1000 || kernels < 1 || own_kernels < 1) {
        fprintf(stderr, "--threads is 1 to 1000, kernels are at least 1\n");
        return 2;
    }

    hipModule_t module;
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&spin, module, "hipsim_spin"));
    hipStream_t stream = stream_of_own();
    measured = seconds() + warmup, end = measured + duration;
    name("serve");

    struct worker *workers = calloc((size_t)threads, sizeof *workers);
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    for (int i = 1; i < threads; i++) {
        workers[i].number = i;
        if (pthread_create(&ids[i], NULL, train, &workers[i])) return perror("pthread_create"), 1;
    }
    unsigned long requests = 0;
    double next = seconds();
    while (next < end && requests < MOST) {
        if (period > 0) sleep_until(next);
        double begun = seconds();
        launch(stream, own_kernels);
        CHECK(hipStreamSynchronize(stream));
        double now = seconds();
        if (begun >= measured && now < end) latencies[requests++] = (uint64_t)((now - begun) * 1e9);
        next = period > 0 && next + period > now ? next + period : now;
    }
    unsigned long others = 0;
    for (int i = 1; i < threads; i++) {
        pthread_join(ids[i], NULL);
        others += workers[i].kernels;
    }
    qsort(latencies, requests, sizeof *latencies, by_size);
#define AT(part) (requests ? (unsigned long long)latencies[(unsigned long)((part) * (double)(requests - 1) + 0.999)] : 0)
    printf("{\"p50_ns\": %llu, \"p99_ns\": %llu, \"requests\": %lu, \"own_kernels\": %lu, \"other_kernels\": %lu, \"seconds\": %.6f}\n", AT(0.5), AT(0.99),
           requests, requests * (unsigned long)own_kernels, others, duration);
    return 0;
}
