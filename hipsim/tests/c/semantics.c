/* What a HIP program relies on, one case per name on the command line. A case prints nothing and exits 0, or explains. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

typedef void *hipGraph_t, *hipGraphExec_t;
hipError_t hipPeekAtLastError(void);
hipError_t hipGetDeviceCount(int *count);
hipError_t hipRuntimeGetVersion(int *version);
hipError_t hipMallocAsync(void **pointer, size_t size, hipStream_t stream);
hipError_t hipFreeAsync(void *pointer, hipStream_t stream);
hipError_t hipMemsetAsync(void *to, int value, size_t size, hipStream_t stream);
hipError_t hipMemcpy2DAsync(void *to, size_t toPitch, const void *from, size_t fromPitch, size_t width, size_t height,
                            int kind, hipStream_t stream);
hipError_t hipStreamBeginCapture(hipStream_t stream, int mode);
hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t *graph);
hipError_t hipStreamIsCapturing(hipStream_t stream, int *status);
hipError_t hipGraphInstantiate(hipGraphExec_t *exec, hipGraph_t graph, void *node, char *log, size_t size);
hipError_t hipGraphLaunch(hipGraphExec_t exec, hipStream_t stream);
hipError_t hipGraphExecDestroy(hipGraphExec_t exec);
hipError_t hipGraphDestroy(hipGraph_t graph);
hipError_t hipStreamWriteValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags);
hipError_t hipStreamWaitValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags, uint32_t mask);
hipError_t hipExtModuleLaunchKernel(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly,
                                    uint32_t lz, size_t shared, hipStream_t stream, void **params, void **extra,
                                    hipEvent_t start, hipEvent_t stop, uint32_t flags);
hipError_t hipGetProcAddress(const char *name, void **at, int version, uint64_t flags, int *status);
hipError_t hipModuleUnload(hipModule_t module);
hipError_t hipMemsetD2D32Async(void *to, size_t pitch, unsigned value, size_t width, size_t height, hipStream_t stream);
hipError_t hipMemsetD2D16Async(void *to, size_t pitch, unsigned short value, size_t width, size_t height,
                               hipStream_t stream);
hipError_t hipMemcpyParam2DAsync(const void *params, hipStream_t stream);
hipError_t hipMemcpyBatchAsync(void **to, void **from, size_t *sizes, size_t count, void *attributes, size_t *indices,
                               size_t attributeCount, size_t *failed, hipStream_t stream);
hipError_t hipStreamBatchMemOp(hipStream_t stream, unsigned count, void *operations, unsigned flags);

static void synchronize_waits(void) {
    hipStream_t s = stream_of(0);
    double start = now_ms();
    for (int i = 0; i < 8; i++) spin(2, s);
    IS(hipStreamQuery(s), hipErrorNotReady);
    /* Up to HIP 6 the last error is the last result, whatever it was. */
    TRUE(hipPeekAtLastError() == hipErrorNotReady);
    OK(hipDeviceSynchronize());
    TRUE(hipPeekAtLastError() == hipSuccess);
    TRUE(now_ms() - start >= 16);
    OK(hipStreamQuery(s));
}

static void null_stream_waits_for_blocking_streams(void) {
    hipStream_t blocking[6], free_stream = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < 6; i++) blocking[i] = stream_of(0);
    spin(40, free_stream);
    uint64_t *p = device(8);
    double start = now_ms();
    for (int i = 0; i < 6; i++) spin(3, blocking[i]);
    count(p, 1, NULL); /* after all six */
    OK(hipStreamSynchronize(NULL));
    TRUE(*p == 1);
    TRUE(now_ms() - start >= 18); /* the device is shared: six times 3 ms of work */
    spin(10, NULL);
    start = now_ms();
    count(p, 1, blocking[5]); /* after the null stream's kernel */
    OK(hipStreamSynchronize(blocking[5]));
    TRUE(*p == 2);
    TRUE(now_ms() - start >= 9);
    OK(hipDeviceSynchronize());
}

static void events_order_streams(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    hipEvent_t done, start, stop;
    OK(hipEventCreateWithFlags(&done, hipEventDisableTiming));
    OK(hipEventCreate(&start));
    OK(hipEventCreate(&stop));
    uint64_t *p = device(8);
    OK(hipEventQuery(done)); /* never recorded */
    OK(hipEventRecord(start, a));
    spin(10, a);
    count(p, 5, a);
    OK(hipEventRecord(done, a));
    OK(hipEventRecord(stop, a));
    IS(hipEventQuery(done), hipErrorNotReady);
    OK(hipStreamWaitEvent(b, done, 0));
    uint64_t seen = 99;
    OK(hipMemcpyAsync(&seen, p, 8, hipMemcpyDeviceToHost, b));
    OK(hipStreamSynchronize(b));
    TRUE(seen == 5);
    OK(hipEventQuery(done));
    float ms;
    OK(hipEventElapsedTime(&ms, start, stop));
    TRUE(ms >= 10 && ms < 100);
    IS(hipEventElapsedTime(&ms, start, done), 400);
    OK(hipEventDestroy(done));
    IS(hipEventRecord(done, a), 400);
    IS(hipEventDestroy(done), 400);
}

static uint64_t order[64];
static int ordered;

static void note(void *data) {
    order[__atomic_fetch_add(&ordered, 1, __ATOMIC_SEQ_CST)] = (uint64_t)data;
}

static void host_functions_run_in_order(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (uint64_t i = 0; i < 32; i++) {
        spin(0.1, s);
        count(p, 1, s);
        OK(hipLaunchHostFunc(s, note, (void *)i));
    }
    OK(hipStreamSynchronize(s));
    TRUE(ordered == 32 && *p == 32);
    for (uint64_t i = 0; i < 32; i++) TRUE(order[i] == i);
    /* Without anybody waiting, too. */
    OK(hipLaunchHostFunc(s, note, NULL));
    for (int i = 0; i < 1000 && __atomic_load_n(&ordered, __ATOMIC_SEQ_CST) < 33; i++) usleep(1000);
    TRUE(ordered == 33);
}

static void copies_keep_their_place(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(64 * 8), host[64], two[8][8];
    for (int round = 0; round < 20; round++) {
        spin(0.2, s);
        OK(hipMemsetAsync(p, round, 64 * 8, s));
        count(p, 1, s);
        OK(hipMemcpyAsync(host, p, sizeof host, hipMemcpyDeviceToHost, s));
        OK(hipMemcpy2DAsync(two, 64, p, 64, 32, 8, hipMemcpyDeviceToHost, s));
        OK(hipMemsetAsync(p, 0xff, 64 * 8, s));
        OK(hipStreamSynchronize(s));
        uint64_t word = 0x0101010101010101u * (uint64_t)round;
        TRUE(host[0] == word + 1 && host[63] == word && two[0][0] == word + 1 && two[7][3] == word);
        TRUE(p[5] == ~0ull);
    }
    void *later;
    OK(hipMallocAsync(&later, 4096, s));
    OK(hipMemsetAsync(later, 1, 4096, s));
    OK(hipFreeAsync(later, s));
    OK(hipStreamSynchronize(s));
    IS(hipFree(later), 1);
}

static void driver_forms_do_the_same(void) {
    hipStream_t s = stream_of(0);
    uint32_t *p = device(16 * 16 * 4), *q = device(16 * 16 * 4), host[2] = {0, 0};
    OK(hipMemsetD2D32Async(p, 64, 0x01020304, 8, 16, s));
    OK(hipMemsetD2D16Async((char *)p + 32, 64, 0x0506, 16, 16, s));
    struct {
        size_t fromX, fromY;
        int fromType;
        const void *fromHost;
        void *fromDevice, *fromArray;
        size_t fromPitch, toX, toY;
        int toType;
        void *toHost, *toDevice, *toArray;
        size_t toPitch, width, height;
    } rows = {32, 1, 99, NULL, p, NULL, 64, 0, 2, 99, NULL, q, NULL, 64, 16, 4};
    OK(hipMemcpyParam2DAsync(&rows, s));
    void *to[] = {&host[0], &host[1]}, *from[] = {&q[32], &p[0]};
    size_t sizes[] = {4, 4}, failed = 7, zero = 0;
    OK(hipMemcpyBatchAsync(to, from, sizes, 2, NULL, &zero, 1, &failed, s));
    struct {
        unsigned operation;
        void *at;
        uint64_t value;
        unsigned flags;
        void *alias;
        uint64_t padding;
    } values[] = {{2, &p[5], 77, 0, NULL, 0}, {1, &p[5], 77, 1, NULL, 0}, {5, &p[6], 1ull << 40, 0, NULL, 0}};
    OK(hipStreamBatchMemOp(s, 3, values, 0));
    OK(hipStreamSynchronize(s));
    TRUE(host[0] == 0x05060506 && host[1] == 0x01020304);
    TRUE(q[32] == 0x05060506 && q[36] == 0 && q[31] == 0 && q[16 * 6] == 0);
    TRUE(p[5] == 77 && p[6] == 0 && p[7] == 256);
}

static void errors_are_the_real_ones(void) {
    hipStream_t s = stream_of(0);
    hipFunction_t f = kernel("anything");
    IS(hipModuleLaunchKernel(f, 0, 1, 1, 64, 1, 1, 0, s, NULL, NULL), 1);
    IS(hipModuleLaunchKernel(f, 1, 1, 1, 2048, 1, 1, 0, s, NULL, NULL), 1);
    IS(hipModuleLaunchKernel(NULL, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL), 400);
    IS(hipModuleLaunchKernel((hipFunction_t)0x1234, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL), 400);
    dim3 one = {1, 1, 1}, none = {0, 1, 1};
    IS(hipLaunchKernel("not a stub", one, one, NULL, 0, s), 98);
    TRUE(hipPeekAtLastError() == 98 && hipGetLastError() == 98 && hipGetLastError() == hipSuccess);
    IS(hipLaunchKernel(NULL, none, one, NULL, 0, s), 98);
    OK(hipStreamDestroy(s));
    IS(hipStreamSynchronize(s), 709);
    IS(hipModuleLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, s, NULL, NULL), 709);
    IS(hipStreamDestroy(s), 709);
    IS(hipStreamQuery((hipStream_t)0x123450), 709);
    IS(hipMalloc(NULL, 8), 1);
    void *p;
    IS(hipMalloc(&p, 1ull << 60), 2);
    IS(hipFree((void *)0x1000), 1);
    OK(hipFree(NULL));
    IS(hipMemcpy(&p, &p, 8, 9), 21);
    hipFunction_t g;
    hipModule_t other;
    IS(hipModuleLoadData(&other, "no code object at all, but long enough to be read"), 200);
    OK(hipModuleLoadData(&other, HIPSIM_MODULE));
    OK(hipModuleGetFunction(&g, other, "f"));
    OK(hipModuleUnload(other));
    IS(hipModuleLaunchKernel(g, 1, 1, 1, 64, 1, 1, 0, NULL, NULL, NULL), 400);
    int version, n;
    OK(hipRuntimeGetVersion(&version));
    TRUE(version == 50700000);
    OK(hipGetDeviceCount(&n));
    TRUE(n == 1);
}

static void capture_records_and_graphs_replay(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), copy = 0;
    hipGraph_t graph;
    hipGraphExec_t exec;
    int status;
    OK(hipStreamBeginCapture(s, 0));
    OK(hipStreamIsCapturing(s, &status));
    TRUE(status == 1);
    for (int i = 0; i < 20; i++) count(p, 1, s);
    OK(hipMemcpyAsync(&copy, p, 8, hipMemcpyDeviceToHost, s));
    OK(hipStreamEndCapture(s, &graph));
    OK(hipDeviceSynchronize());
    TRUE(*p == 0);
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    OK(hipGraphDestroy(graph));
    for (int i = 0; i < 3; i++) OK(hipGraphLaunch(exec, s));
    OK(hipStreamSynchronize(s));
    TRUE(*p == 60 && copy == 60);
    OK(hipGraphExecDestroy(exec));
    IS(hipGraphLaunch(exec, s), 1);
    /* What is not allowed on a capturing stream invalidates the capture. */
    OK(hipStreamBeginCapture(s, 0));
    IS(hipStreamSynchronize(s), 900);
    IS(hipStreamEndCapture(s, &graph), 901);
    TRUE(graph == NULL);
    OK(hipStreamSynchronize(s));
    /* A second stream joins by an event. */
    hipStream_t t = stream_of(0);
    hipEvent_t fork, join;
    OK(hipEventCreate(&fork));
    OK(hipEventCreate(&join));
    OK(hipStreamBeginCapture(s, 0));
    OK(hipEventRecord(fork, s));
    OK(hipStreamWaitEvent(t, fork, 0));
    count(p, 100, t);
    OK(hipEventRecord(join, t));
    OK(hipStreamWaitEvent(s, join, 0));
    OK(hipStreamEndCapture(s, &graph));
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    OK(hipGraphLaunch(exec, s));
    OK(hipStreamSynchronize(s));
    TRUE(*p == 160);
    OK(hipStreamIsCapturing(t, &status));
    TRUE(status == 0);
}

static void value_waits_hold_the_stream(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint32_t *flag = device(4);
    uint64_t *p = device(8);
    OK(hipStreamWaitValue32(a, flag, 7, 1, ~0u));
    count(p, 1, a);
    usleep(20000);
    IS(hipStreamQuery(a), hipErrorNotReady);
    TRUE(*p == 0);
    OK(hipStreamWriteValue32(b, flag, 7, 0));
    OK(hipStreamSynchronize(a));
    TRUE(*p == 1);
}

static void extended_launches_record_their_events(void) {
    hipEvent_t start, stop;
    hipStream_t s = stream_of(0);
    OK(hipEventCreate(&start));
    OK(hipEventCreate(&stop));
    uint64_t ns = 5000000;
    struct { uint64_t ns; } packed = {ns};
    size_t size = sizeof packed;
    void *extra[] = {(void *)1, &packed, (void *)2, &size, (void *)3};
    OK(hipExtModuleLaunchKernel(kernel("hipsim_spin"), 64, 1, 1, 64, 1, 1, 0, s, NULL, extra, start, stop, 0));
    OK(hipEventSynchronize(stop));
    float ms;
    OK(hipEventElapsedTime(&ms, start, stop));
    TRUE(ms >= 5 && ms < 50);
    int (*malloc_)(void **, size_t);
    int status;
    OK(hipGetProcAddress("hipMalloc", (void **)&malloc_, 60400, 0, &status));
    TRUE((void *)malloc_ == (void *)hipMalloc && status == 0);
}

static void *hammer(void *data) {
    hipStream_t *streams = data;
    for (int i = 0; i < 500; i++) {
        spin(0.002, streams[i % 4]);
        if (i % 50 == 0) OK(hipStreamSynchronize(streams[i % 4]));
    }
    OK(hipStreamSynchronize((hipStream_t)2));
    return NULL;
}

static void threads_share_streams(void) {
    hipStream_t streams[4];
    for (int i = 0; i < 4; i++) streams[i] = stream_of(i % 2);
    kernel("hipsim_spin");
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) TRUE(!pthread_create(&threads[i], NULL, hammer, streams));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    OK(hipDeviceSynchronize());
}

static void many_launches_ahead(void) {
    hipStream_t s = stream_of(0);
    for (int i = 0; i < 40000; i++) spin(0.001, s); /* more than the ring holds */
    OK(hipStreamSynchronize(s));
}

static void forked_children(void) {
    /* The parent has not used the device: the child may. */
    pid_t child = fork();
    if (!child) {
        synchronize_waits();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    TRUE(status == 0);
    hipStream_t s = stream_of(0);
    spin(5, s);
    child = fork();
    if (!child) {
        void *p;
        alarm(10);
        _exit(hipStreamSynchronize(s) == 709 && hipMalloc(&p, 8) == 709 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    TRUE(status == 0);
    OK(hipStreamSynchronize(s));
}

static void programs_may_close_every_descriptor(void) {
    hipStream_t s = stream_of(0);
    spin(1, s);
    OK(hipStreamSynchronize(s));
    for (int fd = 3; fd < 256; fd++) close(fd);
    TRUE(open("/dev/null", O_RDONLY) >= 0);
    spin(2, s);
    OK(hipStreamSynchronize(s));
}

static void exit_with_work_queued(void) {
    hipStream_t s = stream_of(0);
    for (int i = 0; i < 100; i++) spin(1000, s);
    OK(hipLaunchHostFunc(s, note, NULL));
    exit(0);
}

static const struct test_case cases[] = {
    CASE(synchronize_waits),
    CASE(null_stream_waits_for_blocking_streams),
    CASE(events_order_streams),
    CASE(host_functions_run_in_order),
    CASE(copies_keep_their_place),
    CASE(driver_forms_do_the_same),
    CASE(errors_are_the_real_ones),
    CASE(capture_records_and_graphs_replay),
    CASE(value_waits_hold_the_stream),
    CASE(extended_launches_record_their_events),
    CASE(threads_share_streams),
    CASE(many_launches_ahead),
    CASE(forked_children),
    CASE(programs_may_close_every_descriptor),
    CASE(exit_with_work_queued),
};

int main(int argc, char **argv) { return run_case(cases, sizeof cases / sizeof *cases, argc, argv); }
