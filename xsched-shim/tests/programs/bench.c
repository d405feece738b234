/* Median nanoseconds per launch: through the shim (if preloaded) and
 * straight into the runtime, in turns, so that both see the same noise.
 * With "groups" another thread of the program is in a class group, and this
 * one has asked for the class that it has. */
#include "../../../crates/xsched-hint/include/xsched.h"
#include "hip.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 301, CALLS = 2000 };
typedef int (*launch_t)(const void *, dim3, dim3, void **, size_t, stream_t);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static double round_of(launch_t launch, stream_t s) {
    static const dim3 one = { 1, 1, 1 };
    double start = now();
    for (int i = 0; i < CALLS; i++) launch(NULL, one, one, NULL, 0, s);
    return (now() - start) / CALLS;
}

static int less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *in_a_group(void *data) {
    static const dim3 one = { 1, 1, 1 };
    xsched_thread_class(XSCHED_LOW);
    for (int i = 0; i < 64; i++) hipLaunchKernel(NULL, one, one, NULL, 0, data);
    return NULL;
}

int main(int argc, char **argv) {
    static double gated[ROUNDS], direct[ROUNDS];
    stream_t s;
    hipStreamCreate(&s);
    if (argc > 1 && !strcmp(argv[1], "groups")) {
        pthread_t other;
        pthread_create(&other, NULL, in_a_group, s);
        pthread_join(other, NULL);
        xsched_thread_class(XSCHED_NORMAL);
    }
    /* A second name of the same function, which nobody interposes. */
    launch_t straight = fake_straight_launch;
    for (int i = 0; i < 20; i++) round_of(hipLaunchKernel, s), round_of(straight, s);
    for (int i = 0; i < ROUNDS; i++) {
        gated[i] = round_of(hipLaunchKernel, s);
        direct[i] = round_of(straight, s);
    }
    qsort(gated, ROUNDS, sizeof *gated, less);
    qsort(direct, ROUNDS, sizeof *direct, less);
    /* A uprobe has replaced the entry's first instruction: its cost is not ours. */
    /* A probe changes the NOP, or the jump behind it. */
    const unsigned char *code = (const unsigned char *)hipLaunchKernel;
    const char *probed = code[0] == 0x0f && code[5] == 0xeb ? "clean" : "probed";
    printf("%.2f %.2f %s\n", gated[ROUNDS / 2], direct[ROUNDS / 2], probed);
    return 0;
}
