/* A kernel of a minute that never runs: the host holds up what it waits for, through another queue. It counts for nobody. */
#define _GNU_SOURCE
#include "hsa.h"

#include <unistd.h>

int main(int count, char **arguments) {
    TRUE(count == 3);
    start();
    uint64_t spin = kernel_of(load_kernels(arguments[1]), "hipsim_spin.kd"), ns = 60000000000;
    hsa_queue_t *a = queue_of(64), *b = queue_of(64);
    hsa_signal_t go = signal_of(1), first = signal_of(1);
    barrier(a, BARRIER_AND, &go, 1, (hsa_signal_t){0});
    barrier(a, BARRIER_AND, NULL, 0, first);
    barrier(b, BARRIER_AND, &first, 1, (hsa_signal_t){0});
    dispatch(b, spin, &ns, (hsa_signal_t){0});
    puts("ready");
    fflush(stdout);
    while (access(arguments[2], F_OK)) usleep(1000);
    return 0;
}
