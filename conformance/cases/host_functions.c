/* Host functions and callbacks: which ones run, how often, in which order, with what and where. */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hip.h"

enum { MOST = 4096 };

static uint64_t ran[MOST];
static int count_ran;
static pthread_t launcher, runner;
static int same_runner = 1;

static void note(void *data) {
    int i = __atomic_load_n(&count_ran, __ATOMIC_SEQ_CST);
    if (i == 0) runner = pthread_self();
    same_runner &= pthread_equal(runner, pthread_self());
    ran[i % MOST] = (uint64_t)data;
    __atomic_store_n(&count_ran, i + 1, __ATOMIC_SEQ_CST);
}

static int has_run(void) {
    return __atomic_load_n(&count_ran, __ATOMIC_SEQ_CST);
}

/* Nobody waits in a HIP call. */
static void wait_for_runs(int n) {
    for (int i = 0; i < 10000 && has_run() < n; i++) sleep_ms(1);
    TRUE(has_run() == n);
}

static void functions_run_once_in_order_on_the_runtimes_thread(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    launcher = pthread_self();
    for (uint64_t i = 0; i < 100; i++) {
        if (i % 3) count(p, 1, s);
        OK(hipLaunchHostFunc(s, note, (void *)(i * i + 1)));
    }
    wait_for_runs(100);
    for (uint64_t i = 0; i < 100; i++) TRUE(ran[i] == i * i + 1);
    say("one thread %d, the launching one %d, counted %lu", same_runner, pthread_equal(runner, launcher), (unsigned long)*p);
    sleep_ms(5);
    TRUE(has_run() == 100);
}

static hipStream_t seen_stream;
static hipError_t seen_status = -1;

static void status_of(hipStream_t stream, hipError_t status, void *data) {
    seen_stream = stream;
    seen_status = status;
    note(data);
}

static void callbacks_are_told_their_stream_and_success(void) {
    hipStream_t s = stream_of(0), t = stream_of(hipStreamNonBlocking);
    spin(0.2, s);
    OK(hipStreamAddCallback(s, status_of, (void *)7, 0));
    wait_for_runs(1);
    TRUE(seen_stream == s && ran[0] == 7);
    say("status %d", seen_status);
    OK(hipStreamAddCallback(t, status_of, NULL, 0));
    wait_for_runs(2);
    TRUE(seen_stream == t && ran[1] == 0);
}

static void refused_ones_do_not_run(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < 3; i++) {
        SHOW(hipLaunchHostFunc(s, NULL, (void *)1));
        SHOW(hipGetLastError());
        SHOW(hipStreamAddCallback(s, NULL, (void *)1, 0));
        SHOW(hipStreamAddCallback(s, status_of, (void *)1, 77));
        SHOW(hipGetLastError());
        count(p, 1, s);
        SHOW(hipLaunchHostFunc(s, note, (void *)2));
        SHOW(hipGetLastError());
    }
    OK(hipStreamSynchronize(s));
    say("%d have run", has_run());
    for (int i = 0; i < has_run(); i++) TRUE(ran[i] == 2);
    hipStream_t gone = stream_of(0);
    OK(hipStreamDestroy(gone));
    for (int i = 0; i < 2000; i++) TRUE(hipLaunchHostFunc(gone, note, (void *)3) != hipSuccess);
    OK(hipLaunchHostFunc(s, note, (void *)4));
    OK(hipStreamSynchronize(s));
    say("%d have run", has_run());
}

/* More than anybody keeps books of. */
static void thousands_at_a_time(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint32_t *flag = device(4);
    hold(s, flag);
    for (uint64_t i = 0; i < 3000; i++) OK(hipLaunchHostFunc(s, note, (void *)i));
    TRUE(has_run() == 0);
    release(flag);
    OK(hipStreamSynchronize(s));
    TRUE(has_run() == 3000);
    for (uint64_t i = 0; i < 3000; i++) TRUE(ran[i] == i);
    say("%d have run", has_run());
}

static void captured_functions_run_at_every_launch(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking), t = stream_of(hipStreamNonBlocking);
    hipEvent_t fork = event_of(hipEventDisableTiming), join = event_of(hipEventDisableTiming);
    uint64_t *p = device(8);
    hipGraph_t graph;
    hipGraphExec_t exec;
    /* Before, between and behind: functions that run once. */
    OK(hipLaunchHostFunc(s, note, (void *)1));
    OK(hipStreamSynchronize(s));
    OK(hipStreamBeginCapture(s, hipStreamCaptureModeRelaxed));
    count(p, 1, s);
    OK(hipLaunchHostFunc(s, note, (void *)10));
    OK(hipEventRecord(fork, s));
    OK(hipStreamWaitEvent(t, fork, 0));
    OK(hipLaunchHostFunc(t, note, (void *)11));
    OK(hipEventRecord(join, t));
    OK(hipStreamWaitEvent(s, join, 0));
    SHOW(hipStreamEndCapture(s, &graph));
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    say("%d have run", has_run());
    for (int i = 0; i < 20; i++) {
        OK(hipGraphLaunch(exec, s));
        if (i % 5 == 0) OK(hipLaunchHostFunc(s, note, (void *)2));
    }
    OK(hipStreamSynchronize(s));
    int of[12] = {0};
    for (int i = 0; i < has_run(); i++) of[ran[i]]++;
    say("once %d and %d, captured %d and %d, counted %lu", of[1], of[2], of[10], of[11], (unsigned long)*p);
    TRUE(of[10] == 20 && of[11] == 20);
}

static void *launch_functions(void *data) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < 200; i++) OK(hipLaunchHostFunc(s, data, NULL));
    OK(hipStreamSynchronize(s));
    return NULL;
}

static void add_one(void *data) {
    (void)data;
    __atomic_fetch_add(&count_ran, 1, __ATOMIC_SEQ_CST);
}

/* A capture begins in one thread while others hand functions over. */
static void functions_beside_captures_of_another_thread(void) {
    pthread_t threads[2];
    hipStream_t s = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < 2; i++) TRUE(!pthread_create(&threads[i], NULL, launch_functions, add_one));
    for (int i = 0; i < 20; i++) {
        hipGraph_t graph;
        OK(hipStreamBeginCapture(s, hipStreamCaptureModeThreadLocal));
        OK(hipLaunchHostFunc(s, add_one, NULL));
        OK(hipStreamEndCapture(s, &graph));
        OK(hipGraphDestroy(graph));
    }
    for (int i = 0; i < 2; i++) TRUE(!pthread_join(threads[i], NULL));
    say("%d have run", has_run());
}

/* What a function starts: the main thread launches as soon as it is told. */
static void a_chain_of_events_and_functions(void) {
    hipStream_t compute = stream_of(hipStreamNonBlocking), between = stream_of(hipStreamNonBlocking),
                callbacks = stream_of(hipStreamNonBlocking);
    hipEvent_t a = event_of(hipEventDisableTiming), b = event_of(hipEventDisableTiming);
    uint64_t *p = device(8);
    for (int request = 1; request <= 40; request++) {
        for (int i = 0; i < 5; i++) count(p, 1, compute);
        OK(hipEventRecord(a, compute));
        OK(hipStreamWaitEvent(between, a, 0));
        OK(hipEventRecord(b, between));
        OK(hipStreamWaitEvent(callbacks, b, 0));
        OK(hipLaunchHostFunc(callbacks, note, (void *)(uint64_t)request));
        wait_for_runs(request);
        TRUE(*p == 5u * (unsigned)request);
    }
    say("%d requests, %lu", has_run(), (unsigned long)*p);
}

static void functions_of_the_default_streams(void) {
    uint64_t *p = device(8);
    for (int i = 0; i < 10; i++) {
        count(p, 1, NULL);
        OK(hipLaunchHostFunc(NULL, note, (void *)1));
        count(p, 1, hipStreamPerThread);
        OK(hipLaunchHostFunc(hipStreamPerThread, note, (void *)2));
        OK(hipLaunchHostFunc(hipStreamLegacy, note, (void *)1));
    }
    OK(hipDeviceSynchronize());
    say("%d have run, counted %lu", has_run(), (unsigned long)*p);
}

static void a_fork_between(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint32_t *flag = device(4);
    hold(s, flag);
    for (uint64_t i = 0; i < 10; i++) OK(hipLaunchHostFunc(s, note, (void *)i));
    pid_t child = fork();
    if (child == 0) {
        sleep_ms(20);
        _exit(has_run() == 0 ? 3 : 4);
    }
    release(flag);
    OK(hipStreamSynchronize(s));
    int status;
    TRUE(waitpid(child, &status, 0) == child);
    say("%d have run here; the child ended with %d", has_run(), WEXITSTATUS(status));
}

static void work_that_is_told_in_other_ways(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    uint32_t *value = device(4);
    hipEvent_t start = event_of(0), stop = event_of(0);
    for (int round = 1; round <= 20; round++) {
        float ms = -1;
        OK(hipEventRecord(start, s));
        count(p, 1, s);
        OK(hipEventRecord(stop, s));
        OK(hipStreamWriteValue32(s, value, (uint32_t)round, 0));
        while (__atomic_load_n(value, __ATOMIC_SEQ_CST) != (uint32_t)round) sleep_ms(0.05);
        TRUE(*p == (uint64_t)round);
        OK(hipEventElapsedTime(&ms, start, stop));
        TRUE(ms >= 0 && hipEventQuery(stop) == hipSuccess);
    }
    say("counted %lu", (unsigned long)*p);
    SHOW(hipEventElapsedTime(NULL, start, stop));
    SHOW(hipEventElapsedTime((float *)p, start, event_of(hipEventDisableTiming)));
}

CASES(CASE(functions_run_once_in_order_on_the_runtimes_thread), CASE(callbacks_are_told_their_stream_and_success),
      CASE(refused_ones_do_not_run), CASE(thousands_at_a_time), CASE(captured_functions_run_at_every_launch),
      CASE(functions_beside_captures_of_another_thread), CASE(a_chain_of_events_and_functions),
      CASE(functions_of_the_default_streams), CASE(a_fork_between), CASE(work_that_is_told_in_other_ways))
