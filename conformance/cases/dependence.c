/* Work that can only end when later work is launched: a gate that holds single streams back would never let it. */
#include <pthread.h>

#include "hip.h"

static void kernel_needs_a_later_launch(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    for (int round = 0; round < 10; round++) {
        uint32_t *flag = device(4);
        hold(a, flag);
        count(p, 1, a);
        for (int i = 0; i < 8; i++) spin(0.05, b);
        fill(flag, 1, 1, b);
        OK(hipStreamSynchronize(a));
        TRUE(*p == (uint64_t)round + 1);
    }
    say("counted %lu", (unsigned long)*p);
    SHOW(hipDeviceSynchronize());
}

static void *launch_and_wait(void *data) {
    uint64_t *p = data;
    hipStream_t s = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < 20; i++) count(p, 1, s);
    OK(hipStreamSynchronize(s));
    return NULL;
}

static void kernel_needs_another_threads_launches(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking);
    uint32_t *flag = device(4);
    uint64_t *p = device(8), *q = device(8);
    pthread_t thread;
    hold(a, flag);
    for (int i = 0; i < 30; i++) count(p, 1, a); /* more than any cap */
    TRUE(!pthread_create(&thread, NULL, launch_and_wait, q));
    pthread_join(thread, NULL);
    say("held %lu, other thread %lu", (unsigned long)*p, (unsigned long)*q);
    release(flag);
    SHOW(hipStreamSynchronize(a));
    say("released %lu", (unsigned long)*p);
}

static void set(void *data) {
    release(data);
}

static void host_function_frees_another_stream(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint32_t *flag = device(4);
    uint64_t *p = device(8);
    hold(a, flag);
    count(p, 1, a);
    for (int i = 0; i < 12; i++) spin(0.05, b);
    OK(hipLaunchHostFunc(b, set, flag));
    SHOW(hipStreamSynchronize(a));
    say("counted %lu", (unsigned long)*p);
    SHOW(hipStreamSynchronize(b));
}

static void values_travel_around_a_ring_of_streams(void) {
    enum { STREAMS = 4, ROUNDS = 6 };
    hipStream_t s[STREAMS];
    uint32_t *turn = device(4);
    float *x = ramp(100), *y = ramp(100);
    for (int i = 0; i < STREAMS; i++) s[i] = stream_of(hipStreamNonBlocking);
    OK(hipDeviceSynchronize());
    /* The last stream's work is launched first. */
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (int i = STREAMS - 1; i >= 0; i--) {
            OK(hipStreamWaitValue32(s[i], turn, round * STREAMS + (uint32_t)i, 1, ~0u));
            saxpy(0.1f * (float)(i + 1), x, y, 100, s[i]);
            if (i == 2) vector_add(y, y, y, 100, s[i]);
            OK(hipStreamWriteValue32(s[i], turn, round * STREAMS + (uint32_t)i + 1, 0));
        }
    SHOW(hipDeviceSynchronize());
    say("turn %u, y %lx", *turn, checksum(y, 400));
}

static void spinning_on_results_in_host_memory(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p;
    OK(hipHostMalloc((void **)&p, 8, 0));
    *p = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        count(p, 1, s);
        /* Nothing but the kernel's own effect says that it ran. */
        while (__atomic_load_n(p, __ATOMIC_SEQ_CST) < i) {
            if (hipStreamQuery(s) == hipSuccess) TRUE(__atomic_load_n(p, __ATOMIC_SEQ_CST) >= i);
        }
    }
    say("counted %lu", (unsigned long)*p);
    SHOW(hipStreamSynchronize(s));
}

/* A shim's own event on the default stream would wait for the one blocking stream, and hold up the other: natively
 * nothing is on the default stream any more. */
static void blocking_streams_need_each_other_after_default_work(void) {
    hipStream_t a = stream_of(0), b = stream_of(0);
    uint64_t *p = device(8);
    for (int round = 0; round < 10; round++) {
        uint32_t *flag = device(4);
        for (int i = 0; i < 6; i++) count(p, 1, NULL);
        while (hipStreamQuery(NULL)) continue;
        for (int i = 0; i < 6; i++) count(p, 1, NULL);
        while (__atomic_load_n(p, __ATOMIC_SEQ_CST) != 13u * (unsigned)round + 12) continue;
        hold(a, flag);
        count(p, 1, a);
        fill(flag, 1, 1, b);
        OK(hipStreamSynchronize(a));
        TRUE(*p == 13u * ((unsigned)round + 1));
    }
    say("counted %lu", (unsigned long)*p);
    SHOW(hipDeviceSynchronize());
}

CASES(CASE(kernel_needs_a_later_launch), CASE(blocking_streams_need_each_other_after_default_work), CASE(kernel_needs_another_threads_launches),
      CASE(host_function_frees_another_stream), CASE(values_travel_around_a_ring_of_streams),
      CASE(spinning_on_results_in_host_memory))
