/* Packets, signals, order, times. The argument is a bundle with kernels. */
#define _GNU_SOURCE
#include "hsa.h"

#define MS 1000000u

static hsa_status_t failed;
static void on_failure(hsa_status_t status, hsa_queue_t *queue, void *data) {
    failed = status;
    (void)queue, (void)data;
}

static void barriers(void) {
    hsa_queue_t *a = queue_of(64), *b = queue_of(64);
    hsa_signal_t first = signal_of(1), second = signal_of(1), done = signal_of(1), none = {0};
    hsa_signal_t both[] = {first, second};
    barrier(a, BARRIER_AND, both, 2, done);
    TRUE(!reached(done, 0.01));
    hsa_signal_store_screlease(first, 0);
    TRUE(!reached(done, 0.01));
    /* The other queue completes the second one. */
    barrier(b, BARRIER_AND, NULL, 0, second);
    TRUE(reached(done, 5));
    /* One is enough. */
    hsa_signal_t left = signal_of(1), right = signal_of(1), any = signal_of(1);
    hsa_signal_t either[] = {left, right};
    barrier(a, BARRIER_OR, either, 2, any);
    TRUE(!reached(any, 0.01));
    hsa_signal_subtract_relaxed(right, 1);
    TRUE(reached(any, 5));
    /* A masked value. */
    hsa_signal_t word = signal_of(0x70), past = signal_of(1);
    barrier_value_t packet = {.header = VENDOR | BARRIER_BIT, .format = 2, .signal = word, .value = 5, .mask = 0xf,
                              .cond = EQ, .completion = past};
    push(a, &packet, true);
    TRUE(!reached(past, 0.01));
    hsa_signal_store_screlease(word, 0x25);
    TRUE(reached(past, 5));
    /* One doorbell for several packets. */
    hsa_signal_t many = signal_of(3);
    barrier_t plain = {.header = BARRIER_AND, .completion = many};
    push(a, &plain, false), push(a, &plain, false), push(a, &plain, true);
    TRUE(reached(many, 5));
    (void)none;
    OK(hsa_queue_destroy(a));
    OK(hsa_queue_destroy(b));
}

static void kernels(const char *path) {
    hsa_executable_t executable = load_kernels(path);
    uint64_t spin = kernel_of(executable, "hipsim_spin.kd"), counter = kernel_of(executable, "counter.kd");
    hsa_queue_t *queue = queue_of(64);
    uint64_t count = 0, short_ns = 30 * MS;
    struct { uint64_t *at, add; } add = {&count, 3};
    hsa_signal_t done = signal_of(1), before = signal_of(1);
    times_t spun, counted;
    uint64_t begun = now();
    dispatch(queue, spin, &short_ns, before);
    TRUE(now() - begun < 25 * MS); /* Not waited for. */
    dispatch(queue, counter, &add, done);
    TRUE(reached(done, 5));
    TRUE(now() - begun >= 30 * MS);
    TRUE(count == 3 && hsa_signal_load_relaxed(before) == 0);
    OK(hsa_amd_profiling_get_dispatch_time(gpus[0], before, &spun));
    OK(hsa_amd_profiling_get_dispatch_time(gpus[0], done, &counted));
    TRUE(spun.start >= begun && spun.end - spun.start == 30 * MS);
    TRUE(counted.start >= spun.end && counted.end >= counted.start && counted.end <= now());
    /* Half of the units: twice the time. */
    uint32_t half[10] = {~0u, ~0u, ~0u, ~0u, (1u << 24) - 1};
    OK(hsa_amd_queue_cu_set_mask(queue, 320, half));
    hsa_signal_store_screlease(done, 1);
    dispatch(queue, spin, &short_ns, done);
    TRUE(reached(done, 5));
    OK(hsa_amd_profiling_get_dispatch_time(gpus[0], done, &spun));
    TRUE(spun.end - spun.start == 60 * MS);
    OK(hsa_queue_destroy(queue));
    /* A queue deeper than its ring: the writer waits for room, and all of it runs. */
    queue = queue_of(64);
    count = 0;
    for (int i = 0; i < 1000; i++) {
        static struct { uint64_t *at, add; } adds[1000];
        adds[i].at = &count, adds[i].add = 1;
        dispatch(queue, counter, &adds[i], i == 999 ? (hsa_signal_store_screlease(done, 1), done) : (hsa_signal_t){0});
    }
    TRUE(reached(done, 20));
    TRUE(count == 1000);
    /* Priorities: the high queue's kernel runs alone, the low one's waits meanwhile. */
    hsa_queue_t *high = queue_of(64);
    OK(hsa_amd_queue_set_priority(high, 2));
    hsa_signal_store_screlease(done, 1);
    hsa_signal_store_screlease(before, 1);
    uint64_t long_ns = 300 * MS;
    dispatch(queue, spin, &long_ns, before);
    dispatch(high, spin, &short_ns, done);
    TRUE(reached(done, 5) && reached(before, 5));
    OK(hsa_amd_profiling_get_dispatch_time(gpus[0], done, &counted));
    OK(hsa_amd_profiling_get_dispatch_time(gpus[0], before, &spun));
    TRUE(counted.end - counted.start < 40 * MS);
    TRUE(spun.end - spun.start >= 330 * MS);
    OK(hsa_executable_destroy(executable));
}

static hsa_queue_t *failing_queue(void) {
    hsa_queue_t *queue;
    OK(hsa_queue_create(gpus[0], 64, 0, on_failure, NULL, 0, 0, &queue));
    failed = 0;
    return queue;
}

static void refusals(void) {
    hsa_queue_t *queue = failing_queue();
    dispatch(queue, 0x1234, NULL, (hsa_signal_t){0});
    TRUE(failed == 0x1010);
    queue = failing_queue();
    barrier_t odd = {.header = 9};
    push(queue, &odd, true);
    TRUE(failed == 0x1009);
    /* What was taken before is done, what comes after is not. */
    queue = failing_queue();
    hsa_signal_t first = signal_of(1), second = signal_of(1), go = signal_of(1);
    barrier(queue, BARRIER_AND, &go, 1, first);
    push(queue, &odd, true);
    TRUE(failed == 0x1009);
    barrier(queue, BARRIER_AND, NULL, 0, second);
    hsa_signal_store_screlease(go, 0);
    TRUE(reached(first, 5));
    TRUE(!reached(second, 0.02));
    TRUE(hsa_queue_load_read_index_scacquire(queue) == 1);
    TRUE(hsa_queue_create(gpus[0], 65, 0, NULL, NULL, 0, 0, &queue) == 0x1001);
    TRUE(hsa_queue_create(cpu, 64, 0, NULL, NULL, 0, 0, &queue) == 0x1004);
}

/* Kernels that should compute and cannot be: nothing looks done. */
static void undone(const char *path) {
    hsa_executable_t executable = load_kernels(path);
    struct { uint32_t kind, unused; uint64_t at, value, flags, rest[2]; } operation = {.kind = 9, .at = (uint64_t)&executable};
    struct { void *at; uint32_t count; } batch = {&operation, 1};
    struct { const char *kernel; void *arguments; } all[] = {
        {"__amd_rocclr_copyBuffer.kd", NULL},
        {"__amd_rocclr_copyImage.kd", &batch},
        {"__amd_rocclr_batchMemOp.kd", &batch},
        {"counter.kd", NULL},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        hsa_queue_t *queue = failing_queue();
        hsa_signal_t done = signal_of(1);
        dispatch(queue, kernel_of(executable, all[i].kernel), all[i].arguments, done);
        TRUE(failed == 0x1001);
        TRUE(!reached(done, 0.002));
    }
    /* One of a program's own with a known name, and one whose work is not missed. */
    uint32_t words[16] = {0};
    struct { uint32_t *to, value, n; uint64_t mask; } own = {words, 7, 0, 16};
    hsa_queue_t *queue = failing_queue();
    hsa_signal_t done = signal_of(2);
    dispatch(queue, kernel_of(executable, "fill.kd"), &own, done);
    dispatch(queue, kernel_of(executable, "__amd_rocclr_initHeap.kd"), &own, done);
    TRUE(reached(done, 5) && !failed);
    for (int i = 0; i < 16; i++) TRUE(words[i] == 0);
    OK(hsa_executable_destroy(executable));
}

/* The value is looked at without a call. */
static void watched(const char *path) {
    hsa_executable_t executable = load_kernels(path);
    hsa_queue_t *queue = queue_of(64);
    hsa_signal_t done = signal_of(1);
    volatile hsa_signal_value_t *value;
    uint64_t ns = 5 * MS;
    OK(hsa_amd_signal_value_pointer(done, &value));
    for (int i = 0; i < 3; i++) {
        *value = 1;
        dispatch(queue, kernel_of(executable, "hipsim_spin.kd"), &ns, done);
        for (uint64_t begun = now(); *value;) TRUE(now() - begun < 5000ull * MS);
    }
    OK(hsa_queue_destroy(queue));
    OK(hsa_executable_destroy(executable));
}

/* Packets of a destroyed queue have no effect any more: their memory may be gone. */
static void destroyed(const char *path) {
    hsa_executable_t executable = load_kernels(path);
    hsa_queue_t *queue = queue_of(64);
    uint64_t count = 0, ns = 20 * MS;
    struct { uint64_t *at, add; } add = {&count, 3};
    hsa_signal_t done = signal_of(1);
    dispatch(queue, kernel_of(executable, "hipsim_spin.kd"), &ns, (hsa_signal_t){0});
    dispatch(queue, kernel_of(executable, "counter.kd"), &add, done);
    OK(hsa_queue_destroy(queue));
    reached(done, 0.2);
    TRUE(count == 0);
    TRUE(hsa_queue_destroy(queue) == 0x1007);
    /* Two queues made after it have a ring each. */
    hsa_queue_t *a = queue_of(64), *b = queue_of(64);
    hsa_signal_t never = signal_of(1), other = signal_of(1);
    barrier(a, BARRIER_AND, &never, 1, done);
    barrier(b, BARRIER_AND, NULL, 0, other);
    TRUE(reached(other, 5));
    hsa_signal_store_screlease(never, 0);
    OK(hsa_queue_destroy(a));
    OK(hsa_queue_destroy(b));
    OK(hsa_executable_destroy(executable));
}

static int called;
static bool on_signal(hsa_signal_value_t value, void *data) {
    TRUE(value == 0 && data == &called);
    return __atomic_add_fetch(&called, 1, __ATOMIC_SEQ_CST) < 2;
}

static void handlers(void) {
    hsa_queue_t *queue = queue_of(64);
    hsa_signal_t done = signal_of(1);
    OK(hsa_amd_signal_async_handler(done, LT, 1, on_signal, &called));
    barrier(queue, BARRIER_AND, NULL, 0, done);
    for (uint64_t begun = now(); __atomic_load_n(&called, __ATOMIC_SEQ_CST) < 2;) TRUE(now() - begun < 5000ull * MS);
}

static void copies(void) {
    static char from[1 << 20], to[1 << 20];
    void *device;
    OK(hsa_amd_memory_pool_allocate(pool_of(gpus[0], 4), sizeof from, 0, &device));
    for (size_t i = 0; i < sizeof from; i++) from[i] = (char)(i * 7);
    hsa_signal_t go = signal_of(1), there = signal_of(1), back = signal_of(1);
    OK(hsa_amd_memory_async_copy(device, gpus[0], from, cpu, sizeof from, 1, &go, there));
    OK(hsa_amd_memory_async_copy(to, cpu, device, gpus[0], sizeof to, 1, &there, back));
    TRUE(!reached(back, 0.01));
    hsa_signal_store_screlease(go, 0);
    TRUE(reached(back, 5));
    TRUE(!memcmp(from, to, sizeof to));
    times_t first, second;
    OK(hsa_amd_profiling_get_async_copy_time(there, &first));
    OK(hsa_amd_profiling_get_async_copy_time(back, &second));
    TRUE(first.start < first.end && first.end <= second.start && second.end - second.start >= 4000);
    OK(hsa_amd_memory_pool_free(device));
}

int main(int count, char **arguments) {
    TRUE(count == 2);
    start();
    barriers();
    kernels(arguments[1]);
    refusals();
    undone(arguments[1]);
    watched(arguments[1]);
    destroyed(arguments[1]);
    handlers();
    copies();
    puts("done");
    return 0;
}
