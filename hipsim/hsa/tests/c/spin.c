/* Kernels of 20 ms one after another until the file named last exists; how long each took, in us. */
#define _GNU_SOURCE
#include "hsa.h"

#include <unistd.h>

int main(int count, char **arguments) {
    TRUE(count == 4);
    start();
    uint64_t spin = kernel_of(load_kernels(arguments[1]), "hipsim_spin.kd"), ns = 20000000;
    hsa_queue_t *queue = queue_of(64);
    int left = atoi(arguments[2]);
    while (left-- != 0 && access(arguments[3], F_OK)) {
        hsa_signal_t done = signal_of(1);
        times_t times;
        dispatch(queue, spin, &ns, done);
        TRUE(reached(done, 20));
        OK(hsa_amd_profiling_get_dispatch_time(gpus[0], done, &times));
        printf("%lu\n", (times.end - times.start) / 1000);
        fflush(stdout);
    }
    return 0;
}
