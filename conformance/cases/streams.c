/* Order within and between streams. */
#include <pthread.h>

#include "hip.h"

enum { N = 1000 };

static void device_synchronize_after_64_launches(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < 64; i++) count(p, 1, i % 2 ? s : NULL);
    SHOW(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
    TRUE(*p == 64);
    SHOW(hipStreamQuery(s));
}

static void launches_of_one_stream_keep_their_order(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    float *x = ramp(N), *y = ramp(N), *sum = device(4);
    for (int i = 0; i < 30; i++) {
        saxpy(0.5f + (float)i / 16, x, y, N, s);
        if (i % 7 == 3) vector_add(x, y, y, N, s);
        if (i % 10 == 9) fill(y, 0x3f800000, N / 2, s);
    }
    reduce(y, sum, N, s);
    OK(hipStreamSynchronize(s));
    say("y %lx sum %a", checksum(y, N * sizeof *y), *sum);
    TRUE(y[0] == 1.0f);
}

static void sync_memcpy_after_launches(void) {
    float *x = ramp(N), *y = device(N * sizeof *y), host[N];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++) saxpy(1.0f, x, y, N, NULL);
        OK(hipMemcpy(host, y, sizeof host, hipMemcpyDeviceToHost));
        say("round %d: %lx", round, checksum(host, sizeof host));
        TRUE(host[0] == 8.0f * (float)(round + 1)); /* x[0] = 1 */
    }
    /* Waits for the blocking streams as well. */
    hipStream_t s = stream_of(0);
    for (int i = 0; i < 16; i++) saxpy(0.25f, x, y, N, s);
    OK(hipMemcpy(host, y, sizeof host, hipMemcpyDeviceToHost));
    say("behind a blocking stream %lx", checksum(host, sizeof host));
}

static void cross_stream_event_wait(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    hipEvent_t done = event_of(hipEventDisableTiming), back = event_of(hipEventDisableTiming);
    uint32_t *p = device(N * 4), *q = device(N * 4);
    for (uint32_t round = 1; round <= 20; round++) {
        spin(0.3, a);
        fill(p, round, N, a);
        OK(hipEventRecord(done, a));
        OK(hipStreamWaitEvent(b, done, 0));
        OK(hipMemcpyAsync(q, p, N * 4, hipMemcpyDeviceToDevice, b));
        OK(hipEventRecord(back, b));
        OK(hipStreamWaitEvent(a, back, 0));
        fill(p, 0, N, a);
        OK(hipStreamSynchronize(b));
        TRUE(q[0] == round && q[N - 1] == round);
    }
    OK(hipStreamSynchronize(a));
    say("p %lx q %lx", checksum(p, N * 4), checksum(q, N * 4));
}

static void null_stream_and_blocking_streams(void) {
    hipStream_t s[4];
    uint64_t *p = device(8), *seen = device(8 * 8);
    for (int i = 0; i < 4; i++) s[i] = stream_of(0);
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 4; i++) {
            spin(0.4, s[i]);
            count(p, 1, i == round % 4 ? s[i] : NULL);
        }
        /* The NULL stream's copy waits for the four, and they for it. */
        OK(hipMemcpyAsync(&seen[round], p, 8, hipMemcpyDeviceToDevice, NULL));
        count(p, 100, s[(round + 1) % 4]);
    }
    OK(hipDeviceSynchronize());
    for (uint64_t round = 0; round < 8; round++) {
        say("round %lu saw %lu", (unsigned long)round, (unsigned long)seen[round]);
        TRUE(seen[round] == 104 * round + 4);
    }
}

static void non_blocking_streams_pass_the_null_stream(void) {
    hipStream_t free_stream = stream_of(hipStreamNonBlocking), blocking = stream_of(0);
    uint32_t *flag = device(4);
    uint64_t *p = device(16);
    OK(hipDeviceSynchronize());
    hold(NULL, flag);
    count(&p[0], 1, NULL);
    count(&p[1], 1, blocking);
    spin(1, free_stream);
    SHOW(hipStreamSynchronize(free_stream));
    SHOW(hipStreamQuery(NULL));
    SHOW(hipStreamQuery(blocking));
    say("held: %lu %lu", (unsigned long)p[0], (unsigned long)p[1]);
    release(flag);
    SHOW(hipDeviceSynchronize());
    say("released: %lu %lu", (unsigned long)p[0], (unsigned long)p[1]);
}

static void *per_thread(void *data) {
    uint64_t *p = data;
    const void *counter = stub("counter");
    for (uint64_t i = 0, add = 3; i < 50; i++) {
        void *params[] = {&p, &add};
        OK(i % 2 ? hipLaunchKernel_spt(counter, one, block64, params, 0, NULL)
                 : hipLaunchKernel(counter, one, block64, params, 0, hipStreamPerThread));
    }
    OK(hipStreamSynchronize_spt(NULL));
    TRUE(*p == 150);
    return NULL;
}

static void per_thread_streams(void) {
    /* A device has four hardware queues: a held stream stops the others that share its queue, so there are few. */
    enum { THREADS = 2 };
    uint64_t *p = device(THREADS * 512), *held = device(8);
    uint32_t *flag = device(4);
    pthread_t threads[THREADS];
    hipStream_t stuck = stream_of(hipStreamNonBlocking);
    stub("counter");
    OK(hipDeviceSynchronize());
    hold(stuck, flag);
    count(held, 1, stuck);
    for (int i = 0; i < THREADS; i++) TRUE(!pthread_create(&threads[i], NULL, per_thread, p + 64 * i));
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    say("%lu %lu, held %lu", (unsigned long)p[0], (unsigned long)p[64], (unsigned long)*held);
    release(flag);
    SHOW(hipDeviceSynchronize());
    SHOW(hipStreamQuery(hipStreamPerThread));
    say("released: %lu", (unsigned long)*held);
}

static void stream_priorities(void) {
    int least, greatest;
    OK(hipDeviceGetStreamPriorityRange(&least, &greatest));
    say("from %d to %d", least, greatest);
    hipStream_t s[3];
    uint64_t *p = device(3 * 8);
    for (int i = 0; i < 3; i++) {
        int wanted = i == 0 ? least : i == 1 ? 0 : greatest, found;
        unsigned flags;
        OK(hipStreamCreateWithPriority(&s[i], i % 2, wanted));
        OK(hipStreamGetPriority(s[i], &found));
        OK(hipStreamGetFlags(s[i], &flags));
        say("priority %d gives %d, flags %u", wanted, found, flags);
    }
    for (int i = 0; i < 60; i++) count(&p[i % 3], 1, s[i % 3]);
    for (int i = 0; i < 3; i++) OK(hipStreamSynchronize(s[i]));
    say("%lu %lu %lu", (unsigned long)p[0], (unsigned long)p[1], (unsigned long)p[2]);
}

static void a_thousand_streams(void) {
    enum { STREAMS = 1000 };
    static hipStream_t s[STREAMS];
    uint64_t *p = device(STREAMS * 8), sum = 0;
    for (int i = 0; i < STREAMS; i++) s[i] = stream_of((unsigned)i % 2);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < STREAMS; i++) count(&p[i], (uint64_t)i, s[i]);
    for (int i = 0; i < STREAMS; i += 3) OK(hipStreamSynchronize(s[i]));
    OK(hipDeviceSynchronize());
    for (int i = 0; i < STREAMS; i++) sum += p[i], OK(hipStreamDestroy(s[i]));
    say("sum %lu", (unsigned long)sum);
    TRUE(sum == (uint64_t)STREAMS * (STREAMS - 1));
}

static void chains_over_eight_streams(void) {
    enum { STREAMS = 8, ROUNDS = 25 };
    hipStream_t s[STREAMS];
    hipEvent_t done[STREAMS];
    float *x = ramp(N), *y = ramp(N);
    for (int i = 0; i < STREAMS; i++) s[i] = stream_of(hipStreamNonBlocking), done[i] = event_of(hipEventDisableTiming);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < STREAMS; i++) {
            OK(hipStreamWaitEvent(s[i], done[(i + STREAMS - 1) % STREAMS], 0));
            saxpy(0.01f * (float)(i + 1), x, y, N, s[i]);
            if (i == 5) fill(y, 0x3f000000, 8, s[i]);
            OK(hipEventRecord(done[i], s[i]));
        }
    OK(hipStreamSynchronize(s[STREAMS - 1]));
    say("y %lx", checksum(y, N * sizeof *y));
}

static void destroying_a_stream_with_work(void) {
    uint64_t *p = device(8);
    for (int i = 0; i < 10; i++) {
        hipStream_t s = stream_of(0);
        spin(0.5, s);
        for (int k = 0; k < 10; k++) count(p, 1, s);
        OK(hipStreamDestroy(s));
    }
    SHOW(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
    TRUE(*p == 100);
}

static void stream_query_polling(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int round = 1; round <= 30; round++) {
        for (int i = 0; i < 5; i++) count(p, 1, s);
        hipError_t found;
        while ((found = hipStreamQuery(s)) == hipErrorNotReady) continue;
        OK(found);
        TRUE(*p == 5u * (unsigned)round);
    }
    SHOW(hipPeekAtLastError());
    say("counted %lu", (unsigned long)*p);
}

static void launches_far_ahead(void) {
    enum { LAUNCHES = 4000 };
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < LAUNCHES; i++) i % 10 ? spin(0.001, s) : count(p, 1, s);
    SHOW(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

static void work_after_a_device_reset(void) {
    for (int round = 0; round < 5; round++) {
        hipStream_t s = stream_of(0);
        uint64_t *p = device(8);
        for (int i = 0; i < 30; i++) count(p, 1, i % 2 ? s : NULL);
        OK(hipDeviceSynchronize());
        say("counted %lu", (unsigned long)*p);
        spin(1, s);
        SHOW(hipDeviceReset());
        SHOW(hipSetDevice(99));
        SHOW(hipSetDevice(0));
        SHOW(hipGetLastError());
    }
}

CASES(CASE(device_synchronize_after_64_launches), CASE(launches_of_one_stream_keep_their_order),
      CASE(sync_memcpy_after_launches), CASE(cross_stream_event_wait), CASE(null_stream_and_blocking_streams),
      CASE(non_blocking_streams_pass_the_null_stream), CASE(per_thread_streams), CASE(stream_priorities),
      CASE(a_thousand_streams), CASE(chains_over_eight_streams), CASE(destroying_a_stream_with_work),
      CASE(stream_query_polling), CASE(launches_far_ahead), CASE(work_after_a_device_reset))
