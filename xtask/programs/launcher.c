/* Launches on demand. Each line of the input is a command, each answered by
 * one line:
 *   calls N               N calls in a row; nanoseconds per call
 *   threads T N           T threads with N calls each, from 64 places; the
 *                         nanoseconds that all took
 *   work SPIN N           N times SPIN rounds of arithmetic and one call; the
 *                         nanoseconds that all took
 *   paced N MS            N calls at the beginning of each millisecond, for
 *                         MS milliseconds; "paced" at once
 *   spin N                N rounds of arithmetic; nanoseconds per round */
#define _GNU_SOURCE
#include "hip.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const dim3 one = {1, 1, 1};
static stream_t stream = (stream_t)0x5000;
static volatile uint64_t sink;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* What this thread has had of the processor. */
static int64_t used(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void spin(int64_t rounds) {
    uint64_t x = 1;
    for (int64_t i = 0; i < rounds; i++) x = x * 6364136223846793005ull + 1442695040888963407ull;
    sink = x;
}

#define LAUNCH hipLaunchKernel(NULL, one, one, NULL, 0, stream);
#define FOUR(x) x x x x
enum { PLACES = 64 };

static void *places(void *calls) {
    for (int64_t left = (int64_t)(intptr_t)calls; left > 0; left -= PLACES) {
        FOUR(FOUR(FOUR(LAUNCH)))
    }
    return NULL;
}

static int64_t threads(int count, int64_t calls) {
    pthread_t thread[64];
    int64_t start = now();
    if (count > 64) count = 64;
    for (int i = 0; i < count; i++) pthread_create(&thread[i], NULL, places, (void *)(intptr_t)calls);
    for (int i = 0; i < count; i++) pthread_join(thread[i], NULL);
    return now() - start;
}

static void paced(int64_t calls, int64_t ms) {
    int64_t next = now();
    for (int64_t i = 0; i < ms; i++) {
        for (int64_t j = 0; j < calls; j++) LAUNCH
        next += 1000000;
        struct timespec at = {next / 1000000000, next % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
}

/* Further libraries, which it keeps open. */
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (dlopen(argv[i], RTLD_NOW)) continue;
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    /* Under a shim, a stream that it does not know would be another matter. */
    hipStreamCreate(&stream);
    setvbuf(stdout, NULL, _IOLBF, 0);
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        long long a = 0, b = 0;
        if (sscanf(line, "calls %lld", &a) == 1) {
            int64_t start = now();
            for (int64_t i = 0; i < a; i++) LAUNCH
            printf("%.3f\n", (double)(now() - start) / a);
        } else if (sscanf(line, "threads %lld %lld", &a, &b) == 2) {
            printf("%lld\n", (long long)threads(a, b));
        } else if (sscanf(line, "work %lld %lld", &a, &b) == 2) {
            int64_t start = now(), had = used();
            for (int64_t i = 0; i < b; i++) {
                spin(a);
                LAUNCH
            }
            printf("%lld %lld\n", (long long)(used() - had), (long long)(now() - start));
        } else if (sscanf(line, "paced %lld %lld", &a, &b) == 2) {
            puts("paced");
            paced(a, b);
        } else if (sscanf(line, "spin %lld", &a) == 1) {
            int64_t start = now();
            spin(a);
            printf("%.3f\n", (double)(now() - start) / a);
        } else {
            puts("?");
        }
    }
    return 0;
}
