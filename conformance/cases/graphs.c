/* Stream capture and graphs: the gate must leave no trace in a capture, and gate the launch of a graph. */
#include <pthread.h>

#include "hip.h"

static hipGraphExec_t executable(hipGraph_t graph) {
    hipGraphExec_t exec;
    size_t nodes = 0;
    SHOW(hipGraphGetNodes(graph, NULL, &nodes));
    say("%zu nodes", nodes);
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    OK(hipGraphDestroy(graph));
    return exec;
}

static void capture_of_20_launches(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int round = 1; round <= 5; round++) {
        hipGraph_t graph;
        int status;
        count(p, 1000, s);
        OK(hipStreamBeginCapture(s, hipStreamCaptureModeGlobal));
        for (int i = 0; i < 20; i++) count(p, 1, s);
        OK(hipStreamIsCapturing(s, &status));
        say("capturing %d", status);
        SHOW(hipStreamEndCapture(s, &graph));
        OK(hipDeviceSynchronize());
        say("captured, none executed: %lu", (unsigned long)*p);
        hipGraphExec_t exec = executable(graph);
        OK(hipGraphUpload(exec, s));
        for (int i = 0; i < 3; i++) OK(hipGraphLaunch(exec, s));
        OK(hipStreamSynchronize(s));
        say("launched: %lu", (unsigned long)*p);
        TRUE(*p == 1060u * (unsigned)round);
        SHOW(hipGraphExecDestroy(exec));
        SHOW(hipGraphLaunch(exec, s));
    }
}

static void graphs_keep_their_place_between_launches(void) {
    enum { N = 512 };
    hipStream_t s = stream_of(hipStreamNonBlocking);
    float *x = ramp(N), *y = ramp(N), host[N];
    hipGraph_t graph;
    OK(hipDeviceSynchronize());
    OK(hipStreamBeginCapture(s, hipStreamCaptureModeRelaxed));
    saxpy(0.5f, x, y, N, s);
    OK(hipMemsetAsync(y, 0, 16, s));
    OK(hipMemcpyAsync(host, y, sizeof host, hipMemcpyDeviceToHost, s));
    OK(hipStreamEndCapture(s, &graph));
    hipGraphExec_t exec = executable(graph);
    for (int i = 0; i < 30; i++) {
        saxpy(0.25f * (float)i, x, y, N, s);
        OK(hipGraphLaunch(exec, s));
        if (i % 6 == 0) vector_add(x, y, y, N, s);
    }
    OK(hipStreamSynchronize(s));
    say("y %lx host %lx", checksum(y, sizeof host), checksum(host, sizeof host));
}

static void capture_across_streams(void) {
    hipStream_t s = stream_of(0), t = stream_of(0);
    hipEvent_t fork = event_of(hipEventDisableTiming), join = event_of(hipEventDisableTiming);
    uint64_t *p = device(8);
    hipGraph_t graph;
    int status;
    OK(hipStreamBeginCapture(s, hipStreamCaptureModeThreadLocal));
    OK(hipEventRecord(fork, s));
    OK(hipStreamWaitEvent(t, fork, 0));
    for (int i = 0; i < 12; i++) count(p, 100, t);
    OK(hipStreamIsCapturing(t, &status));
    say("joined %d", status);
    OK(hipEventRecord(join, t));
    OK(hipStreamWaitEvent(s, join, 0));
    count(p, 1, s);
    SHOW(hipStreamEndCapture(s, &graph));
    OK(hipDeviceSynchronize());
    say("none executed: %lu", (unsigned long)*p);
    hipGraphExec_t exec = executable(graph);
    for (int i = 0; i < 5; i++) OK(hipGraphLaunch(exec, i % 2 ? s : t));
    OK(hipDeviceSynchronize());
    say("launched: %lu", (unsigned long)*p);
}

static void forbidden_calls_invalidate_a_capture(void) {
    hipStream_t s = stream_of(0);
    hipGraph_t graph = (hipGraph_t)1;
    uint64_t *p = device(8);
    for (int i = 0; i < 5; i++) {
        OK(hipStreamBeginCapture(s, hipStreamCaptureModeGlobal));
        SHOW(hipStreamBeginCapture(s, hipStreamCaptureModeGlobal));
        count(p, 1, s);
        SHOW(hipStreamSynchronize(s));
        SHOW(hipStreamEndCapture(s, &graph));
        say("graph %d", graph != NULL);
        SHOW(hipStreamSynchronize(s));
    }
    SHOW(hipStreamEndCapture(s, &graph));
    say("none executed: %lu", (unsigned long)*p);
}

static void a_capture_is_not_for_the_null_stream(void) {
    hipStream_t s = stream_of(0);
    hipGraph_t graph;
    uint64_t *p = device(8), add = 1;
    void *params[] = {&p, &add};
    SHOW(hipStreamBeginCapture(NULL, hipStreamCaptureModeGlobal));
    OK(hipStreamBeginCapture(s, hipStreamCaptureModeGlobal));
    count(p, 1, s);
    SHOW(launch("counter", NULL, params)); /* would wait for the capturing stream */
    SHOW(hipStreamEndCapture(s, &graph));
    SHOW(hipDeviceSynchronize());
    say("executed: %lu", (unsigned long)*p);
}

static int stop;

static void *launch_beside(void *data) {
    uint64_t *p = data, launched = 0;
    hipStream_t s = stream_of(hipStreamNonBlocking);
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        count(p, 1, s);
        launched++;
    }
    OK(hipStreamSynchronize(s));
    TRUE(*p == launched);
    return NULL;
}

/* Fences of another thread's launches must not get into a capture, nor end it. */
static void capture_beside(int mode) {
    pthread_t thread;
    uint64_t *p = device(8), *q = device(8);
    hipStream_t s = stream_of(hipStreamNonBlocking);
    stop = 0;
    TRUE(!pthread_create(&thread, NULL, launch_beside, q));
    while (!__atomic_load_n(q, __ATOMIC_SEQ_CST)) continue; /* it runs */
    for (int round = 0; round < 30; round++) {
        hipGraph_t graph;
        size_t nodes = 0;
        OK(hipStreamBeginCapture(s, mode));
        for (int i = 0; i < 10; i++) {
            count(p, 1, s);
            if (i % 5 == 0) sleep_ms(0.5);
        }
        OK(hipStreamEndCapture(s, &graph));
        OK(hipGraphGetNodes(graph, NULL, &nodes));
        TRUE(nodes == 10);
        OK(hipGraphDestroy(graph));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    say("30 captures of 10 launches, executed %lu", (unsigned long)*p);
}

static void global_capture_beside_another_threads_launches(void) {
    capture_beside(hipStreamCaptureModeGlobal);
}

static void relaxed_capture_beside_another_threads_launches(void) {
    capture_beside(hipStreamCaptureModeRelaxed);
}

CASES(CASE(capture_of_20_launches), CASE(graphs_keep_their_place_between_launches), CASE(capture_across_streams),
      CASE(forbidden_calls_invalidate_a_capture), CASE(a_capture_is_not_for_the_null_stream),
      CASE(global_capture_beside_another_threads_launches), CASE(relaxed_capture_beside_another_threads_launches))
