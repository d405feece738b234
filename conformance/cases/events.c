/* Events: recorded, waited for, polled, timed, destroyed; launches that record their own. */
#include "hip.h"

/* The only spelling in the 5.x runtimes, and what rocBLAS imports. */
hipError_t mangled_ext_launch(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly, uint32_t lz,
                              size_t shared, hipStream_t stream, void **params, void **extra, hipEvent_t start,
                              hipEvent_t stop, uint32_t flags)
    __asm__("_Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j");

static void event_query_polling(void) {
    hipStream_t s = stream_of(0);
    hipEvent_t done = event_of(hipEventDisableTiming);
    uint64_t *p = device(8);
    for (uint64_t round = 1; round <= 40; round++) {
        for (int i = 0; i < 4; i++) count(p, 1, s);
        OK(hipEventRecord(done, s));
        count(p, 1000000, s); /* behind the event */
        hipError_t found;
        while ((found = hipEventQuery(done)) == hipErrorNotReady) continue;
        OK(found);
        TRUE(__atomic_load_n(p, __ATOMIC_SEQ_CST) % 1000000 == 4 * round);
        OK(hipStreamSynchronize(s));
    }
    say("counted %lu", (unsigned long)*p);
    SHOW(hipGetLastError());
}

static void events_have_states(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    hipEvent_t fresh = event_of(0), untimed = event_of(hipEventDisableTiming), timed = event_of(0);
    uint32_t *flag = device(4);
    float ms;
    SHOW(hipEventQuery(fresh));
    SHOW(hipEventSynchronize(fresh));
    OK(hipDeviceSynchronize());
    hold(s, flag);
    OK(hipEventRecord(timed, s));
    OK(hipEventRecord(untimed, s));
    SHOW(hipEventQuery(timed));
    SHOW(hipEventElapsedTime(&ms, timed, timed));
    release(flag);
    SHOW(hipEventSynchronize(untimed));
    SHOW(hipEventQuery(timed));
    SHOW(hipEventElapsedTime(&ms, timed, untimed));
    SHOW(hipEventElapsedTime(&ms, fresh, timed));
    SHOW(hipEventElapsedTime(NULL, timed, timed));
    SHOW(hipEventDestroy(fresh));
    SHOW(hipEventRecord(fresh, s));
    SHOW(hipEventRecord(NULL, s));
    SHOW(hipEventDestroy(fresh));
    SHOW(hipStreamSynchronize(s));
}

static void elapsed_times_are_sane(void) {
    hipStream_t s = stream_of(0);
    hipEvent_t e[4];
    for (int i = 0; i < 4; i++) OK(hipEventCreate(&e[i]));
    double begun = now_ms();
    for (int i = 0; i < 4; i++) {
        OK(hipEventRecord(e[i], s));
        if (i < 3) spin(4, s);
    }
    OK(hipEventSynchronize(e[3]));
    double took = now_ms() - begun;
    float whole, sum = 0, part;
    OK(hipEventElapsedTime(&whole, e[0], e[3]));
    for (int i = 0; i < 3; i++) {
        OK(hipEventElapsedTime(&part, e[i], e[i + 1]));
        TRUE(part >= 3.9f);
        sum += part;
    }
    TRUE(whole >= 11.9f && whole <= took + 0.1);
    TRUE(sum > whole - 0.1f && sum < whole + 0.1f);
    OK(hipEventElapsedTime(&part, e[3], e[0]));
    TRUE(part < 0);
    say("three kernels of 4 ms took at least 12 ms and no longer than the program");
}

static void destroying_a_pending_event(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8), seen[20];
    for (int i = 0; i < 20; i++) {
        hipEvent_t e = event_of(hipEventDisableTiming);
        spin(0.2, a);
        count(p, 1, a);
        OK(hipEventRecord(e, a));
        OK(hipStreamWaitEvent(b, e, 0));
        OK(hipEventDestroy(e));
        OK(hipMemcpyAsync(&seen[i], p, 8, hipMemcpyDeviceToHost, b));
        OK(hipStreamSynchronize(b));
        TRUE(seen[i] == (uint64_t)i + 1);
    }
    say("seen %lx", checksum(seen, sizeof seen));
}

static void recording_again_moves_the_event(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    hipEvent_t e = event_of(hipEventDisableTiming);
    uint32_t *flag = device(4);
    uint64_t *p = device(8);
    OK(hipDeviceSynchronize());
    OK(hipEventRecord(e, b));
    OK(hipStreamSynchronize(b));
    hold(a, flag);
    count(p, 1, a);
    OK(hipEventRecord(e, a));
    SHOW(hipEventQuery(e));
    OK(hipStreamWaitEvent(b, e, 0));
    OK(hipEventRecord(e, a));
    count(p, 10, b);
    SHOW(hipStreamQuery(b));
    release(flag);
    SHOW(hipEventSynchronize(e));
    SHOW(hipStreamSynchronize(b));
    say("counted %lu", (unsigned long)*p);
}

static void events_on_the_null_stream(void) {
    hipStream_t s = stream_of(0);
    hipEvent_t e = event_of(hipEventDisableTiming);
    uint64_t *p = device(8), seen[30];
    for (int i = 0; i < 30; i++) {
        count(p, 1, s);
        OK(hipEventRecord(e, i % 2 ? NULL : hipStreamLegacy));
        OK(hipEventSynchronize(e)); /* behind the blocking stream's kernel */
        seen[i] = *p;
        TRUE(seen[i] == (uint64_t)i + 1);
    }
    say("seen %lx", checksum(seen, sizeof seen));
}

static void check_times(hipEvent_t start, hipEvent_t stop) {
    float ms;
    OK(hipEventSynchronize(stop));
    OK(hipEventQuery(start));
    OK(hipEventElapsedTime(&ms, start, stop));
    TRUE(ms >= 1.9f);
}

static void module_launches_with_events(void) {
    hipStream_t s = stream_of(0);
    hipEvent_t start = event_of(0), stop = event_of(0);
    uint64_t ns = 2000000;
    void *params[] = {&ns};
    hipFunction_t f = kernel("hipsim_spin");
    for (int i = 0; i < 5; i++) {
        SHOW(hipExtModuleLaunchKernel(f, 64, 1, 1, 64, 1, 1, 0, s, params, NULL, start, stop, 0));
        check_times(start, stop);
        SHOW(mangled_ext_launch(f, 128, 1, 1, 64, 1, 1, 0, s, params, NULL, start, stop, 0));
        check_times(start, stop);
        SHOW(hipHccModuleLaunchKernel(f, 64, 1, 1, 64, 1, 1, 0, s, params, NULL, start, stop));
        check_times(start, stop);
    }
    SHOW(hipExtModuleLaunchKernel(f, 64, 1, 1, 64, 1, 1, 0, s, params, NULL, NULL, stop, 0));
    SHOW(hipExtModuleLaunchKernel(f, 64, 1, 1, 64, 1, 1, 0, s, params, NULL, NULL, NULL, 0));
    SHOW(hipEventSynchronize(stop));
    SHOW(hipStreamSynchronize(s));
}

static void stub_launches_with_events(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    hipEvent_t start = event_of(0), stop = event_of(0);
    uint64_t ns = 2000000, *p = device(8), add = 5;
    void *params[] = {&ns}, *counted[] = {&p, &add};
    for (int i = 0; i < 5; i++) {
        SHOW(hipExtLaunchKernel(stub("hipsim_spin"), one, block64, params, 0, s, start, stop, 0));
        check_times(start, stop);
        OK(hipExtLaunchKernel(stub("counter"), one, block64, counted, 0, s, NULL, stop, 0));
        OK(hipEventSynchronize(stop));
        TRUE(*p == 5u * (unsigned)(i + 1));
    }
    say("counted %lu", (unsigned long)*p);
}

CASES(CASE(event_query_polling), CASE(events_have_states), CASE(elapsed_times_are_sane), CASE(destroying_a_pending_event),
      CASE(recording_again_moves_the_event), CASE(events_on_the_null_stream), CASE(module_launches_with_events),
      CASE(stub_launches_with_events))
