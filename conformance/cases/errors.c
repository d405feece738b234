/* Wrong calls: the same codes, and the program goes on. */
#include <pthread.h>

#include "hip.h"

/* After anything that went wrong: the device still works and the last error is clear. */
static void survived(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    hipGetLastError();
    for (int i = 0; i < 10; i++) count(p, 1, s);
    OK(hipStreamSynchronize(s));
    OK(hipStreamDestroy(s));
    say("survived: %lu", (unsigned long)*p);
}

static void bad_configurations(void) {
    hipStream_t s = stream_of(0);
    hipFunction_t f = kernel("anything");
    const void *known = stub("anything");
    dim3 none = {0, 1, 1}, large = {1025, 1, 1}, flat = {64, 64, 1};
    for (int i = 0; i < 5; i++) {
        SHOW(hipModuleLaunchKernel(f, 0, 1, 1, 64, 1, 1, 0, s, NULL, NULL));
        SHOW(hipModuleLaunchKernel(f, 1, 1, 1, 2048, 1, 1, 0, s, NULL, NULL));
        SHOW(hipLaunchKernel(known, none, one, NULL, 0, s));
        SHOW(hipLaunchKernel(known, one, large, NULL, 0, s));
        SHOW(hipLaunchKernel(known, one, flat, NULL, 0, NULL));
        SHOW(hipExtModuleLaunchKernel(f, 64, 1, 1, 0, 1, 1, 0, s, NULL, NULL, NULL, NULL, 0));
        SHOW(hipGetLastError());
    }
    survived();
}

static void bad_functions(void) {
    hipStream_t s = stream_of(0);
    hipModule_t other;
    hipFunction_t f;
    for (int i = 0; i < 5; i++) {
        SHOW(hipModuleLaunchKernel(NULL, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL));
        SHOW(hipModuleLaunchKernel((hipFunction_t)0x1234, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL));
        SHOW(hipLaunchKernel("not a stub", one, one, NULL, 0, s));
        SHOW(hipLaunchKernel(NULL, one, one, NULL, 0, NULL));
        SHOW(hipExtLaunchKernel("no", one, one, NULL, 0, s, NULL, NULL, 0));
        SHOW(hipLaunchCooperativeKernel("no", one, one, NULL, 0, s));
        SHOW(hipGraphLaunch(NULL, s));
        SHOW(hipGetLastError());
    }
    OK(hipModuleLoadData(&other, MODULE));
    OK(hipModuleGetFunction(&f, other, "anything"));
    SHOW(hipModuleLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL));
    SHOW(hipModuleUnload(other));
    SHOW(hipModuleLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL));
    survived();
}

static void destroyed_streams(void) {
    hipFunction_t f = kernel("anything");
    hipEvent_t e = event_of(0);
    void *p = device(1 << 20);
    for (int i = 0; i < 10; i++) {
        hipStream_t s = stream_of(0);
        if (i % 2) spin(0.1, s);
        OK(hipStreamDestroy(s));
        SHOW(hipModuleLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL));
        SHOW(hipLaunchKernel(stub("anything"), one, one, NULL, 0, s));
        SHOW(hipMemsetAsync(p, 0, 1 << 20, s));
        SHOW(hipMemcpyAsync(p, p, 1 << 18, hipMemcpyDeviceToDevice, s));
        SHOW(hipStreamSynchronize(s));
        SHOW(hipStreamQuery(s));
        SHOW(hipEventRecord(e, s));
        SHOW(hipStreamWaitEvent(s, e, 0));
        SHOW(hipStreamDestroy(s));
    }
    SHOW(hipStreamQuery((hipStream_t)0x123450));
    SHOW(hipModuleLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, (hipStream_t)0x123450, NULL, NULL));
    SHOW(hipStreamDestroy(NULL));
    survived();
}

static void bad_arguments(void) {
    void *p = device(1 << 20);
    hipStream_t s = stream_of(0);
    SHOW(hipMalloc(NULL, 8));
    SHOW(hipMalloc(&p, 1ull << 60));
    SHOW(hipMemcpy(&p, &p, 8, 9));
    SHOW(hipMemcpyAsync(NULL, p, 1 << 18, hipMemcpyDeviceToDevice, s));
    SHOW(hipMemsetAsync(NULL, 0, 1 << 18, s));
    SHOW(hipStreamWaitEvent(s, NULL, 0));
    SHOW(hipEventQuery(NULL));
    SHOW(hipLaunchHostFunc(s, NULL, NULL));
    SHOW(hipStreamCreate(NULL));
    SHOW(hipStreamCreateWithFlags(&s, 77));
    SHOW(hipEventCreateWithFlags(NULL, 0));
    void *params[] = {NULL, NULL};
    SHOW(hipModuleLaunchKernel(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
    SHOW(hipModuleLaunchKernel(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, NULL, NULL, NULL));
    survived();
}

/* The gate's own calls into the runtime must leave the program's last error alone. */
static void last_error_outlives_launches_and_waits(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    void *taken;
    for (int round = 0; round < 20; round++) {
        SHOW(hipLaunchKernel("not a stub", one, one, NULL, 0, s));
        for (int i = 0; i < 10; i++) count(p, 1, s);
        SHOW(hipPeekAtLastError());
        OK(hipStreamSynchronize(s));
        SHOW(hipPeekAtLastError());
        SHOW(hipGetLastError());
        SHOW(hipGetLastError());
    }
    SHOW(hipMalloc(&taken, 1ull << 60));
    OK(hipStreamSynchronize(s));
    SHOW(hipGetLastError());
    say("counted %lu", (unsigned long)*p);
}

/* Not-ready is no error, whoever asked. */
static void polling_leaves_no_error(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    hipEvent_t e = event_of(hipEventDisableTiming);
    uint32_t *flag = device(4);
    OK(hipDeviceSynchronize());
    hold(s, flag);
    OK(hipEventRecord(e, s));
    for (int i = 0; i < 12; i++) spin(0.01, s);
    SHOW(hipStreamQuery(s));
    SHOW(hipEventQuery(e));
    SHOW(hipPeekAtLastError());
    SHOW(hipGetLastError());
    release(flag);
    SHOW(hipStreamSynchronize(s));
    SHOW(hipGetLastError());
}

static void *other_thread(void *data) {
    hipStream_t s = data;
    SHOW(hipPeekAtLastError());
    for (int i = 0; i < 20; i++) spin(0.02, s);
    SHOW(hipMalloc(NULL, 1));
    OK(hipStreamSynchronize(s));
    SHOW(hipPeekAtLastError());
    return NULL;
}

static void errors_belong_to_their_thread(void) {
    hipStream_t s = stream_of(0);
    pthread_t thread;
    SHOW(hipLaunchKernel("not a stub", one, one, NULL, 0, s));
    TRUE(!pthread_create(&thread, NULL, other_thread, s));
    pthread_join(thread, NULL);
    SHOW(hipGetLastError());
    SHOW(hipGetLastError());
}

CASES(CASE(bad_configurations), CASE(bad_functions), CASE(destroyed_streams), CASE(bad_arguments),
      CASE(last_error_outlives_launches_and_waits), CASE(polling_leaves_no_error), CASE(errors_belong_to_their_thread))
