/* Kernels of 20 ms (or of as many ns as the fourth argument says) one after another until the file named third exists; how
 * long each took, in us. The fifth argument says how their end is noticed: by waiting, by looking, or by a handler. The
 * sixth is the queue's priority. */
#define _GNU_SOURCE
#include "hsa.h"

#include <unistd.h>

static bool note(hsa_signal_value_t value, void *data) {
    (void)value;
    __atomic_store_n((int *)data, 1, __ATOMIC_SEQ_CST);
    return false;
}

static void end_of(hsa_signal_t done, const char *way) {
    int called = 0;
    if (!strcmp(way, "wait")) TRUE(reached(done, 60));
    else if (!strcmp(way, "look")) while (hsa_signal_load_relaxed(done)) {}
    else {
        OK(hsa_amd_signal_async_handler(done, LT, 1, note, &called));
        while (!__atomic_load_n(&called, __ATOMIC_SEQ_CST)) usleep(100);
    }
}

int main(int count, char **arguments) {
    TRUE(count >= 4);
    start();
    uint64_t spin = kernel_of(load_kernels(arguments[1]), "hipsim_spin.kd");
    uint64_t ns = count > 4 ? strtoull(arguments[4], NULL, 10) : 20000000;
    const char *way = count > 5 ? arguments[5] : "wait";
    hsa_queue_t *queue = queue_of(64);
    if (count > 6) OK(hsa_amd_queue_set_priority(queue, atoi(arguments[6])));
    int left = atoi(arguments[2]);
    puts("ready");
    fflush(stdout);
    while (left-- != 0 && access(arguments[3], F_OK)) {
        hsa_signal_t done = signal_of(1);
        times_t times;
        dispatch(queue, spin, &ns, done);
        end_of(done, way);
        OK(hsa_amd_profiling_get_dispatch_time(gpus[0], done, &times));
        OK(hsa_signal_destroy(done));
        printf("%lu\n", (times.end - times.start) / 1000);
        fflush(stdout);
    }
    return 0;
}
