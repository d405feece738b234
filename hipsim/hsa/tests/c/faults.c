/* A kernel that uses an address without memory. Arguments: a bundle with kernels, and who takes care of it: nobody, refusing
 * (a handler that does not) or handler. */
#define _GNU_SOURCE
#include "hsa.h"

static fault_event_t told;
static volatile int times;
static volatile int failures;

static hsa_status_t on_event(const fault_event_t *event, void *data) {
    told = *event;
    times++;
    return *(hsa_status_t *)data;
}

static void on_failure(hsa_status_t status, hsa_queue_t *queue, void *data) {
    (void)status, (void)queue, (void)data;
    failures++;
}

int main(int argc, char **argv) {
    TRUE(argc == 3);
    start();
    static hsa_status_t success = 0, failure = 0x1000;
    if (strcmp(argv[2], "nobody")) OK(hsa_amd_register_system_event_handler(on_event, &failure));
    if (!strcmp(argv[2], "handler")) OK(hsa_amd_register_system_event_handler(on_event, &success));
    TRUE(hsa_amd_register_system_event_handler(NULL, NULL) == 0x1001);
    uint64_t counter = kernel_of(load_kernels(argv[1]), "counter.kd"), count = 0;
    /* Where nothing is ever mapped: a page of our own that is gone could be another's by then. */
    uint64_t *gone = (uint64_t *)0x11000;
    struct { uint64_t *at, add; } bad = {gone + 3, 1}, good = {&count, 2};
    hsa_queue_t *first, *second = queue_of(64);
    OK(hsa_queue_create(gpus[0], 64, 0, on_failure, NULL, 0, 0, &first));
    hsa_signal_t never = signal_of(1), behind = signal_of(1), later = signal_of(1), done = signal_of(1), again = signal_of(1);
    dispatch(first, counter, &bad, never);
    dispatch(first, counter, &good, behind);
    for (int i = 0; i < 500 && !times; i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
    TRUE(told.type == 0 && told.agent.handle == gpus[0].handle);
    TRUE(told.address == (uint64_t)(gone + 3) && told.reasons == 1);
    /* Its queue has failed, the others have not. */
    dispatch(first, counter, &good, later);
    dispatch(second, counter, &good, done);
    TRUE(reached(done, 5));
    TRUE(!reached(never, 0.05) && !reached(behind, 0.01) && !reached(later, 0.01));
    /* The system's handler was told, so the queue's own is not. */
    TRUE(count == 2 && times == 2 && !failures);
    OK(hsa_queue_destroy(first));
    TRUE(!reached(never, 0.05) && !reached(behind, 0.01) && !reached(later, 0.01));
    /* Another has its place on the hardware. */
    first = queue_of(64);
    dispatch(first, counter, &good, again);
    TRUE(reached(again, 5) && count == 4);
    OK(hsa_queue_destroy(first));
    puts("done");
    return 0;
}
