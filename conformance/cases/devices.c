/* Several devices, each with a gate of its own. */
#include <pthread.h>

#include "hip.h"

enum { DEVICES = 3, N = 32 * 1024 };

/* The simulator reads it at the first call. On a real machine a case ends here unless it has that many. */
static void have_devices(void) {
    int found = 0;
    setenv("HIPSIM_DEVICES", "3", 1);
    OK(hipGetDeviceCount(&found));
    TRUE(found >= DEVICES);
}

static void *work_on(void *data) {
    int number = (int)(uint64_t)data;
    OK(hipSetDevice(number));
    hipStream_t s = stream_of(number % 2 ? hipStreamNonBlocking : 0);
    uint64_t *p = device(8);
    for (int i = 0; i < 200; i++) {
        count(p, (uint64_t)number + 1, i % 2 && number != 1 ? NULL : s);
        if (i % 50 == 0) OK(hipStreamSynchronize(s));
    }
    OK(hipDeviceSynchronize());
    uint64_t sum = *p;
    OK(hipStreamDestroy(s));
    return (void *)sum;
}

static void a_thread_for_each_device(void) {
    pthread_t threads[DEVICES];
    have_devices();
    kernel("counter");
    for (uint64_t i = 0; i < DEVICES; i++) TRUE(!pthread_create(&threads[i], NULL, work_on, (void *)i));
    for (int i = 0; i < DEVICES; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        say("device %d: %lu", i, (unsigned long)sum);
    }
}

static void one_thread_changes_devices(void) {
    hipStream_t s[DEVICES];
    uint64_t *p[DEVICES];
    have_devices();
    for (int i = 0; i < DEVICES; i++) {
        OK(hipSetDevice(i));
        s[i] = stream_of(hipStreamNonBlocking);
        p[i] = device(8);
    }
    for (int i = 0; i < 120; i++) {
        OK(hipSetDevice(i % DEVICES));
        count(p[i % DEVICES], 1, i % 2 ? s[i % DEVICES] : NULL);
        OK(hipSetDevice((i + 1) % DEVICES));
        count(p[i % DEVICES], 1000, s[i % DEVICES]); /* a stream of another device than the current one */
        OK(hipStreamSynchronize(s[i % DEVICES]));
    }
    for (int i = 0; i < DEVICES; i++) {
        OK(hipSetDevice(i));
        OK(hipDeviceSynchronize());
        say("device %d: %lu", i, (unsigned long)*p[i]);
    }
    SHOW(hipSetDevice(-1));
    SHOW(hipSetDevice(1000));
    SHOW(hipGetLastError());
}

static void chains_over_devices(void) {
    hipStream_t s[DEVICES];
    hipEvent_t done[DEVICES];
    float *x[DEVICES], *y[DEVICES], *host = malloc(N * 4);
    have_devices();
    for (int i = 0; i < DEVICES; i++) {
        OK(hipSetDevice(i));
        s[i] = stream_of(hipStreamNonBlocking), done[i] = event_of(hipEventDisableTiming);
        x[i] = ramp(N), y[i] = ramp(N);
    }
    for (int step = 0; step < 30; step++) {
        int here = step % DEVICES, next = (step + 1) % DEVICES;
        OK(hipSetDevice(here));
        saxpy(0.01f * (float)step, x[here], y[here], N, s[here]);
        OK(hipMemcpyPeerAsync(y[next], next, y[here], here, N * 4, s[here]));
        OK(hipEventRecord(done[here], s[here]));
        OK(hipSetDevice(next));
        OK(hipStreamWaitEvent(s[next], done[here], 0));
    }
    OK(hipStreamSynchronize(s[0]));
    OK(hipMemcpy(host, y[0], N * 4, hipMemcpyDeviceToHost));
    say("y %lx", checksum(host, N * 4));
}

/* The gate of one device must not hold what the other needs. */
static void a_device_waits_for_another(void) {
    hipStream_t first, second;
    uint64_t *p;
    have_devices();
    first = stream_of(hipStreamNonBlocking);
    p = device(8);
    OK(hipSetDevice(1));
    second = stream_of(hipStreamNonBlocking);
    for (int round = 0; round < 10; round++) {
        OK(hipSetDevice(0));
        uint32_t *flag = device(4);
        hold(first, flag);
        count(p, 1, first);
        OK(hipSetDevice(1));
        for (int i = 0; i < 10; i++) spin(0.02, second);
        fill(flag, 1, 1, second);
        OK(hipStreamSynchronize(first));
        TRUE(*p == (uint64_t)round + 1);
    }
    say("counted %lu", (unsigned long)*p);
}

CASES(CASE(a_thread_for_each_device), CASE(one_thread_changes_devices), CASE(chains_over_devices),
      CASE(a_device_waits_for_another))
