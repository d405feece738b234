/* Median nanoseconds per launch: through the shim (if preloaded) and straight into the driver, in turns, so that both see the same
 * noise. */
#include "null.h"

enum { ROUNDS = 301, CALLS = 2000 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double round_of(launch_t launch, void *stream) {
    double start = now();
    for (int i = 0; i < CALLS; i++) launch_with(launch, stream);
    return (now() - start) / CALLS;
}

static int less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    static double gated[ROUNDS], direct[ROUNDS];
    void *s;
    cuInit(0);
    cuStreamCreate(&s, 0);
    for (int i = 0; i < 20; i++) round_of(cuLaunchKernel, s), round_of(null_straight_launch, s);
    for (int i = 0; i < ROUNDS; i++) {
        gated[i] = round_of(cuLaunchKernel, s);
        direct[i] = round_of(null_straight_launch, s);
    }
    qsort(gated, ROUNDS, sizeof *gated, less);
    qsort(direct, ROUNDS, sizeof *direct, less);
    /* A probe changes the NOP, or the jump behind it: its cost is not ours. */
    const unsigned char *code = (const unsigned char *)cuLaunchKernel;
    const char *probed = code[0] == 0x0f && code[5] == 0xeb ? "clean" : "probed";
    printf("%.2f %.2f %s\n", gated[ROUNDS / 2], direct[ROUNDS / 2], probed);
    return 0;
}
