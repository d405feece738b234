/* Copies, memsets, host functions and memory: their place between kernels, and calls that must not wait at the gate. */
#include <pthread.h>

#include "hip.h"

enum { N = 64 * 1024 }; /* of floats: 256 KiB, a size that is gated */

static uint64_t order[256];
static int ordered;

static void note(void *data) {
    order[__atomic_fetch_add(&ordered, 1, __ATOMIC_SEQ_CST) % 256] = (uint64_t)data;
}

static void host_function_and_2d_copy_keep_their_place(void) {
    hipStream_t s = stream_of(0);
    uint32_t *p = device(64 * 64), rows[20][8][4];
    for (uint32_t round = 0; round < 20; round++) {
        spin(0.1, s);
        fill(p, round + 1, 64 * 16, s);
        OK(hipLaunchHostFunc(s, note, (void *)(uint64_t)round));
        OK(hipMemcpy2DAsync(rows[round], 16, p, 64, 16, 8, hipMemcpyDeviceToHost, s));
        fill(p, 0, 64 * 16, s);
    }
    OK(hipStreamSynchronize(s));
    say("rows %lx", checksum(rows, sizeof rows));
    for (uint32_t round = 0; round < 20; round++) {
        say("round %u: host function %lu, row %u", round, (unsigned long)order[round], rows[round][7][3]);
        TRUE(order[round] == round && rows[round][7][3] == round + 1);
    }
}

static void memsets_keep_their_place(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint32_t *p = device(N * 4), *q = device(N * 4);
    for (uint32_t round = 0; round < 12; round++) {
        spin(0.1, s);
        OK(hipMemsetAsync(p, (int)round, N * 4, s));
        count((uint64_t *)p, 1, s);
        OK(hipMemsetD32Async(p + 16, (int)round, 16, s));
        OK(hipMemsetD16Async(p + 32, (unsigned short)round, 16, s));
        OK(hipMemset2DAsync(p + 1024, 64, 0x55, 8, 4, s));
        OK(hipMemcpyAsync(q, p, N * 4, hipMemcpyDeviceToDevice, s));
        OK(hipMemsetAsync(p, 0xff, 16, s));
        OK(hipStreamSynchronize(s));
        say("round %u: p %lx q %lx", round, checksum(p, N * 4), checksum(q, N * 4));
        TRUE(q[N - 1] == round * 0x01010101u && q[0] == round * 0x01010101u + 1 && q[16] == round);
    }
}

static void copies_of_all_sizes_keep_their_place(void) {
    hipStream_t s = stream_of(0);
    float *x = ramp(N), *y = device(N * 4), *big = malloc(N * 4), small[4];
    for (int round = 0; round < 10; round++) {
        spin(0.1, s);
        saxpy(1.0f, x, y, N, s);
        OK(hipMemcpyAsync(big, y, N * 4, hipMemcpyDeviceToHost, s));
        OK(hipMemcpyAsync(small, y, sizeof small, hipMemcpyDeviceToHost, s));
        saxpy(-0.5f, x, y, N, s);
        OK(hipStreamSynchronize(s));
        say("round %d: %lx %lx", round, checksum(big, N * 4), checksum(small, sizeof small));
    }
    OK(hipMemcpyPeerAsync(x, 0, y, 0, N * 4, s));
    OK(hipMemcpyWithStream(big, x, N * 4, hipMemcpyDefault, s));
    say("peer %lx", checksum(big, N * 4));
    OK(hipMemcpyHtoDAsync(x, small, sizeof small, s));
    OK(hipStreamSynchronize(s));
    OK(hipMemcpyDtoH(big, x, N * 4));
    say("host to device %lx", checksum(big, N * 4));
}

static void per_thread_copies_keep_their_place(void) {
    float *x = ramp(N), *y = device(N * 4), *host = malloc(N * 4);
    for (int i = 0; i < 10; i++) {
        saxpy(1.0f, x, y, N, hipStreamPerThread);
        OK(hipMemcpyAsync_spt(host, y, N * 4, hipMemcpyDeviceToHost, NULL));
        OK(hipMemsetAsync_spt(y, 0, 16, NULL));
    }
    OK(hipStreamSynchronize_spt(NULL));
    say("host %lx", checksum(host, N * 4));
    OK(hipMemcpy_spt(host, y, N * 4, hipMemcpyDeviceToHost));
    say("host %lx", checksum(host, N * 4));
}

static void status_of(hipStream_t stream, hipError_t status, void *data) {
    (void)stream;
    note((void *)((uint64_t)status << 32 | (uint64_t)data));
}

static void callbacks_run_in_order(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (uint64_t i = 0; i < 50; i++) {
        count(p, 1, s);
        OK(hipStreamAddCallback(s, status_of, (void *)i, 0));
    }
    OK(hipStreamSynchronize(s));
    TRUE(ordered == 50);
    for (uint64_t i = 0; i < 50; i++) TRUE(order[i] == i);
    say("%d callbacks, last %lu, counted %lu", ordered, (unsigned long)order[49], (unsigned long)*p);
    /* Without anybody waiting, too. */
    count(p, 1, s);
    OK(hipLaunchHostFunc(s, note, NULL));
    for (int i = 0; i < 10000 && __atomic_load_n(&ordered, __ATOMIC_SEQ_CST) < 51; i++) sleep_ms(1);
    say("%d callbacks", ordered);
}

static int stop;

static void *launch_all_the_time(void *data) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = data, launched = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        count(p, 1, s);
        if (++launched % 64 == 0) OK(hipStreamSynchronize(s));
    }
    OK(hipStreamSynchronize(s));
    TRUE(*p == launched);
    OK(hipStreamDestroy(s));
    return NULL;
}

/* Another thread stands at the gate most of the time; allocating, freeing and destroying must go on. */
static void memory_and_streams_come_and_go_while_suspended(void) {
    pthread_t threads[2];
    uint64_t *p = device(16);
    for (int i = 0; i < 2; i++) TRUE(!pthread_create(&threads[i], NULL, launch_all_the_time, &p[i]));
    double deadline = now_ms() + 40;
    int rounds = 0;
    while (rounds < 100 || now_ms() < deadline) {
        void *memory;
        hipStream_t s = stream_of(0);
        hipEvent_t e = event_of(0);
        OK(hipMalloc(&memory, 4096));
        OK(hipEventRecord(e, s));
        OK(hipStreamWaitEvent(s, e, 0));
        OK(hipFree(memory));
        OK(hipStreamDestroy(s));
        OK(hipEventDestroy(e));
        rounds++;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    say("done");
    SHOW(hipDeviceSynchronize());
}

static void stream_ordered_memory(void) {
    hipStream_t s = stream_of(0);
    uint32_t host[64];
    for (uint32_t round = 0; round < 20; round++) {
        void *p;
        OK(hipMallocAsync(&p, 256, s));
        fill(p, round, 64, s);
        OK(hipMemcpyAsync(host, p, 256, hipMemcpyDeviceToHost, s));
        OK(hipFreeAsync(p, s));
        OK(hipStreamSynchronize(s));
        TRUE(host[0] == round && host[63] == round);
    }
    say("host %lx", checksum(host, sizeof host));
    SHOW(hipFree((void *)0x1000));
    SHOW(hipFree(NULL));
}

static void freeing_waits_for_the_kernels_that_use_it(void) {
    uint64_t *sum = device(8);
    hipStream_t s = stream_of(0);
    for (int i = 0; i < 20; i++) {
        uint64_t *p = device(8);
        spin(0.2, s);
        count(p, 7, s);
        OK(hipMemcpyAsync(sum, p, 8, hipMemcpyDeviceToDevice, s));
        OK(hipFree(p));
        TRUE(*sum == 7);
        *sum = 0;
    }
    say("done");
}

CASES(CASE(host_function_and_2d_copy_keep_their_place), CASE(memsets_keep_their_place),
      CASE(copies_of_all_sizes_keep_their_place), CASE(per_thread_copies_keep_their_place),
      CASE(callbacks_run_in_order), CASE(memory_and_streams_come_and_go_while_suspended), CASE(stream_ordered_memory),
      CASE(freeing_waits_for_the_kernels_that_use_it))
