/* Functions of the program in stream order, values that streams write and wait for, events that tie streams together. */
#include "hip.h"

hipError_t hipStreamWriteValue64(hipStream_t stream, void *at, uint64_t value, unsigned flags);
hipError_t hipStreamWaitValue64(hipStream_t stream, void *at, uint64_t value, unsigned flags, uint64_t mask);

enum { Gte, Eq, And, Nor };
enum { Chain = 3, Rounds = 30 };

static uint64_t order[200];
static int ordered, inside, met;

static void note(void *data) {
    if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) > 1) met = 1;
    order[__atomic_fetch_add(&ordered, 1, __ATOMIC_SEQ_CST)] = (uint64_t)data;
    sleep_ms(0.05);
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
}

/* Each stream waits for the one before; the order of all their functions is fixed, and no two run at once. */
static void host_functions_of_three_streams_follow_events(void) {
    hipStream_t s[Chain];
    hipEvent_t done[Chain];
    for (int i = 0; i < Chain; i++) s[i] = stream_of(i ? hipStreamNonBlocking : 0), done[i] = event_of(hipEventDisableTiming);
    for (uint64_t round = 0; round < Rounds; round++)
        for (int i = 0; i < Chain; i++) {
            if (round || i) OK(hipStreamWaitEvent(s[i], done[(i + Chain - 1) % Chain], 0));
            spin(0.02, s[i]);
            OK(hipLaunchHostFunc(s[i], note, (void *)(round * Chain + (uint64_t)i)));
            OK(hipEventRecord(done[i], s[i]));
        }
    OK(hipEventSynchronize(done[Chain - 1]));
    say("%d functions, two at once: %d", ordered, met);
    for (int i = 0; i < ordered; i++) TRUE(order[i] == (uint64_t)i);
    SHOW(hipDeviceSynchronize());
}

/* The same of kernels whose order shows in the result. */
static void event_chains_over_three_streams(void) {
    hipStream_t s[Chain];
    hipEvent_t done[Chain];
    float *x = ramp(1000), *y = ramp(1000);
    for (int i = 0; i < Chain; i++) s[i] = stream_of(hipStreamNonBlocking), done[i] = event_of(0);
    for (int round = 0; round < Rounds; round++)
        for (int i = 0; i < Chain; i++) {
            if (round || i) OK(hipStreamWaitEvent(s[i], done[(i + Chain - 1) % Chain], 0));
            if (i == 1) vector_add(x, y, y, 1000, s[i]);
            else saxpy(0.01f * (float)(i + 1), x, y, 1000, s[i]);
            OK(hipEventRecord(done[i], s[i]));
        }
    OK(hipStreamSynchronize(s[Chain - 1]));
    say("y %lx", checksum(y, 4000));
    for (int i = 0; i < Chain; i++) OK(hipEventQuery(done[i]));
}

static hipStream_t other;
static uint64_t *counted;

static void launch_more(hipStream_t s, hipError_t error, void *data) {
    (void)s;
    TRUE(!error);
    count(counted, (uint64_t)data, other);
}

static void callbacks_launch_on_another_stream(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    other = stream_of(hipStreamNonBlocking);
    counted = device(16);
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 6; i++) {
            count(counted + 1, 1, s);
            OK(hipStreamAddCallback(s, launch_more, (void *)3, 0));
        }
        OK(hipStreamSynchronize(s));
        OK(hipStreamSynchronize(other));
        TRUE(counted[0] == 18ul * (unsigned)(round + 1));
    }
    say("counted %lu and %lu", (unsigned long)counted[1], (unsigned long)counted[0]);
}

static void spin_until_set(void *data) {
    while (!__atomic_load_n((uint32_t *)data, __ATOMIC_SEQ_CST)) continue;
}

/* The device does not stand still while the program's function runs. */
static void device_goes_on_beside_a_host_function(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8), copy = 0;
    for (int round = 0; round < 10; round++) {
        uint32_t *flag = device(4);
        OK(hipLaunchHostFunc(a, spin_until_set, flag));
        count(p, 1, a);
        spin(0.1, b);
        OK(hipMemcpyAsync(&copy, p, 8, hipMemcpyDeviceToHost, b));
        fill(flag, 1, 1, b);
        OK(hipStreamSynchronize(a));
        TRUE(*p == (uint64_t)round + 1 && copy == (uint64_t)round);
    }
    say("counted %lu", (unsigned long)*p);
    SHOW(hipDeviceSynchronize());
}

static void functions_of_a_destroyed_stream(void) {
    hipStream_t s = stream_of(0);
    for (uint64_t i = 0; i < 5; i++) {
        spin(0.2, s);
        OK(hipLaunchHostFunc(s, note, (void *)i));
    }
    SHOW(hipStreamDestroy(s));
    SHOW(hipLaunchHostFunc(s, note, (void *)9));
    SHOW(hipStreamAddCallback(s, launch_more, NULL, 0));
    SHOW(hipStreamWriteValue32(s, device(4), 1, 0));
    SHOW(hipStreamAddCallback(NULL, NULL, NULL, 0));
    SHOW(hipStreamAddCallback(NULL, launch_more, NULL, 1));
    /* What was queued before still runs. */
    for (int i = 0; i < 10000 && __atomic_load_n(&ordered, __ATOMIC_SEQ_CST) < 5; i++) sleep_ms(1);
    say("%d functions ran", ordered);
    for (int i = 0; i < 5; i++) TRUE(order[i] == (uint64_t)i);
    SHOW(hipDeviceSynchronize());
}

/* Every comparison, held back by a value that does not fulfil it and let go by one that does. */
static void streams_wait_for_values(void) {
    static const struct {
        int compare;
        uint64_t value, mask, before, after;
    } waits[] = {
        {Gte, 10, ~0ul, 9, 11},          {Eq, 10, ~0ul, 11, 10},     {And, 6, ~0ul, 9, 4},
        {Nor, 0xf0f0, 0xffff, 0x0f0f, 1}, {Gte, 0x10, 0xf0, 0x0f, 0x1f}, {Eq, 5, 0xf, 0x54, 0x75},
    };
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++)
        for (int wide = 0; wide < 2; wide++) {
            if (!MASKS && ~waits[i].mask) continue;
            uint64_t *value = device(8);
            *value = waits[i].before;
            uint64_t before = *p;
            if (wide) OK(hipStreamWaitValue64(a, value, waits[i].value, (unsigned)waits[i].compare, waits[i].mask));
            else OK(hipStreamWaitValue32(a, value, (uint32_t)waits[i].value, (unsigned)waits[i].compare, (uint32_t)waits[i].mask));
            count(p, 1, a);
            spin(0.3, b);
            OK(hipStreamSynchronize(b));
            /* With the mask on both, "nor" looks at the bits outside it too: always fulfilled. */
            if (waits[i].compare != Nor) TRUE(__atomic_load_n(p, __ATOMIC_SEQ_CST) == before);
            if (wide) OK(hipStreamWriteValue64(b, value, waits[i].after, 0));
            else OK(hipStreamWriteValue32(b, value, (uint32_t)waits[i].after, 0));
            OK(hipStreamSynchronize(a));
            TRUE(*p == before + 1);
        }
    say("counted %lu", (unsigned long)*p);
    uint32_t own;
    SHOW(hipStreamWaitValue32(a, &own, 1, Eq, ~0u)); /* memory of the program */
    SHOW(hipStreamWriteValue32(a, &own, 1, 0));
    SHOW(hipStreamWriteValue64(a, NULL, 1, 0));
    SHOW(hipStreamWaitValue32(a, p, 1, 4, ~0u));
    SHOW(hipDeviceSynchronize());
}

CASES(CASE(host_functions_of_three_streams_follow_events), CASE(event_chains_over_three_streams),
      CASE(callbacks_launch_on_another_stream), CASE(device_goes_on_beside_a_host_function),
      CASE(functions_of_a_destroyed_stream), CASE(streams_wait_for_values))
