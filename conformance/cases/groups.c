/* Class groups: threads and streams of one process with gates of their own that open and close apart. What one group needs of another must never wait for
 * good, whichever gate is shut. */
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../crates/xsched-hint/include/xsched.h"
#include "hip.h"

int pthread_setname_np(pthread_t thread, const char *name);

/* Below and above the class that everybody has. */
static const int classes[] = {XSCHED_LOW, XSCHED_HIGH, XSCHED_REALTIME, XSCHED_NONE};

struct task {
    int class;
    hipStream_t stream;
    uint64_t *counter;
    int rounds;
    pthread_t thread;
};

static void *work(void *data) {
    struct task *task = data;
    xsched_thread_class(task->class);
    for (int i = 0; i < task->rounds; i++) {
        count(task->counter, 1, task->stream);
        if (i % 16 == 15) OK(hipStreamSynchronize(task->stream));
    }
    return NULL;
}

static void start(struct task *task) {
    TRUE(!pthread_create(&task->thread, NULL, work, task));
}

static void groups_share_a_stream(void) {
    struct task tasks[4];
    uint64_t *p = device(8);
    hipStream_t s = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < 4; i++) tasks[i] = (struct task){.class = classes[i], .stream = s, .counter = p, .rounds = 100};
    for (int i = 0; i < 4; i++) start(&tasks[i]);
    for (int i = 0; i < 4; i++) pthread_join(tasks[i].thread, NULL);
    SHOW(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

static void groups_share_the_default_stream(void) {
    struct task tasks[4];
    uint64_t *p = device(8);
    for (int i = 0; i < 4; i++) tasks[i] = (struct task){.class = classes[i], .stream = NULL, .counter = p, .rounds = 100};
    for (int i = 0; i < 4; i++) start(&tasks[i]);
    for (int i = 0; i < 4; i++) pthread_join(tasks[i].thread, NULL);
    SHOW(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
}

/* The default stream ties the blocking streams of all groups together. */
static void default_stream_between_groups(void) {
    uint64_t *p = device(8), *q = device(8);
    hipStream_t a = stream_of(0), b = stream_of(0);
    for (int round = 0; round < 20; round++) {
        xsched_thread_class(XSCHED_LOW);
        count(p, 1, a);
        xsched_thread_class(XSCHED_HIGH);
        count(q, 1, NULL);
        xsched_thread_class(XSCHED_NONE);
        count(p, 1, b);
        OK(hipStreamSynchronize(b));
        TRUE(*p == 2u * ((unsigned)round + 1) && *q == (unsigned)round + 1);
    }
    say("counted %lu and %lu", (unsigned long)*p, (unsigned long)*q);
    SHOW(hipDeviceSynchronize());
}

static void a_high_stream_waits_for_a_low_event(void) {
    float *x = ramp(64), *y = ramp(64);
    hipStream_t low = stream_of(hipStreamNonBlocking), high = stream_of(hipStreamNonBlocking);
    hipEvent_t event = event_of(hipEventDisableTiming);
    for (int round = 0; round < 15; round++) {
        xsched_thread_class(XSCHED_LOW);
        for (int i = 0; i < 5; i++) saxpy(0.5f, x, y, 64, low);
        OK(hipEventRecord(event, low));
        xsched_thread_class(XSCHED_REALTIME);
        OK(hipStreamWaitEvent(high, event, 0));
        saxpy(0.25f, y, x, 64, high);
        OK(hipStreamSynchronize(high));
    }
    say("%lx", checksum(x, 64 * 4));
}

static void events_go_around_all_groups(void) {
    float *x = ramp(64), *y = ramp(64);
    hipStream_t s[4];
    hipEvent_t e[4];
    for (int i = 0; i < 4; i++) s[i] = stream_of(hipStreamNonBlocking), e[i] = event_of(hipEventDisableTiming);
    OK(hipDeviceSynchronize());
    for (int i = 0; i < 40; i++) {
        xsched_thread_class(classes[i % 4]);
        if (i) OK(hipStreamWaitEvent(s[i % 4], e[(i + 3) % 4], 0));
        saxpy(0.01f * (float)i, x, y, 64, s[i % 4]);
        OK(hipEventRecord(e[i % 4], s[i % 4]));
    }
    SHOW(hipEventSynchronize(e[3]));
    say("%lx", checksum(y, 64 * 4));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *under_the_lock(void *data) {
    struct task *task = data;
    xsched_thread_class(task->class);
    for (int i = 0; i < task->rounds; i++) {
        pthread_mutex_lock(&lock);
        for (int n = 0; n < 4; n++) count(task->counter, 1, task->stream);
        /* The high thread leaves work behind of which it asks nothing. */
        if (task->class == XSCHED_LOW) OK(hipStreamSynchronize(task->stream));
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* A low thread is at the gate with a lock that a high one wants. */
static void a_lock_between_groups(void) {
    struct task low = {.class = XSCHED_LOW, .stream = stream_of(hipStreamNonBlocking), .counter = device(8), .rounds = 25};
    struct task high = {.class = XSCHED_REALTIME, .stream = stream_of(hipStreamNonBlocking), .counter = device(8), .rounds = 25};
    kernel("counter");
    TRUE(!pthread_create(&low.thread, NULL, under_the_lock, &low));
    TRUE(!pthread_create(&high.thread, NULL, under_the_lock, &high));
    pthread_join(low.thread, NULL);
    pthread_join(high.thread, NULL);
    SHOW(hipDeviceSynchronize());
    say("counted %lu and %lu", (unsigned long)*low.counter, (unsigned long)*high.counter);
}

static void *free_by_kernels(void *data) {
    uint32_t *flag = data;
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    xsched_thread_class(XSCHED_LOW);
    for (int i = 0; i < 8; i++) count(p, 1, s);
    fill(flag, 1, 1, s);
    OK(hipStreamSynchronize(s));
    return NULL;
}

/* What runs in the high group ends only when the low one has launched some more. */
static void a_high_kernel_needs_low_launches(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    kernel("counter"), kernel("fill");
    for (int round = 0; round < 3; round++) {
        uint32_t *flag = device(4);
        pthread_t thread;
        xsched_thread_class(XSCHED_REALTIME);
        hold(s, flag);
        count(p, 1, s);
        TRUE(!pthread_create(&thread, NULL, free_by_kernels, flag));
        OK(hipStreamSynchronize(s));
        pthread_join(thread, NULL);
    }
    say("counted %lu", (unsigned long)*p);
}

static uint64_t *host_counter;

static void launches_in_turn(void *data) {
    pthread_mutex_lock(&lock);
    *host_counter += (uint64_t)(uintptr_t)data;
    pthread_mutex_unlock(&lock);
}

/* A host function of a high stream wants a lock that a low thread has at the gate. */
static void a_host_function_waits_for_a_low_thread(void) {
    struct task low = {.class = XSCHED_LOW, .stream = stream_of(hipStreamNonBlocking), .counter = device(8), .rounds = 20};
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8), own = 0;
    host_counter = &own;
    kernel("counter");
    TRUE(!pthread_create(&low.thread, NULL, under_the_lock, &low));
    xsched_thread_class(XSCHED_HIGH);
    for (int i = 0; i < 20; i++) {
        count(p, 1, s);
        OK(hipLaunchHostFunc(s, launches_in_turn, (void *)1));
        if (i % 5 == 4) OK(hipStreamSynchronize(s));
    }
    pthread_join(low.thread, NULL);
    SHOW(hipDeviceSynchronize());
    say("counted %lu, %lu and %lu", (unsigned long)*p, (unsigned long)own, (unsigned long)*low.counter);
}

static void a_thread_changes_class_amid_a_burst(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    float *x = ramp(64), *y = ramp(64);
    for (int i = 0; i < 120; i++) {
        if (i % 5 == 0) xsched_thread_class(classes[i / 5 % 4]);
        if (i % 30 == 0) xsched_burst_begin();
        saxpy(0.01f * (float)(i % 7), x, y, 64, s);
        if (i % 30 == 29) {
            OK(hipStreamSynchronize(s));
            xsched_burst_end();
        }
    }
    SHOW(hipStreamSynchronize(s));
    say("%lx", checksum(y, 64 * 4));
}

static void a_thread_is_renamed_amid_its_work(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    char name[16];
    for (int i = 0; i < 60; i++) {
        if (i % 10 == 0) {
            snprintf(name, sizeof name, "worker-%d", i);
            TRUE(prctl(PR_SET_NAME, name, 0, 0, 0) == 0);
        }
        if (i % 10 == 5) {
            snprintf(name, sizeof name, "other-%d", i);
            TRUE(pthread_setname_np(pthread_self(), name) == 0);
        }
        count(p, 1, s);
    }
    TRUE(prctl(PR_GET_NAME, name, 0, 0, 0) == 0);
    TRUE(prctl(PR_SET_NAME, (char *)1, 0, 0, 0) == -1);
    TRUE(pthread_setname_np(pthread_self(), "longer than fifteen bytes") == ERANGE);
    SHOW(hipStreamSynchronize(s));
    say("counted %lu as %s", (unsigned long)*p, name);
}

static void streams_have_classes_of_their_own(void) {
    hipStream_t s[4];
    uint64_t *p = device(4 * 8);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 4; i++) {
            s[i] = stream_of((unsigned)i % 2);
            xsched_stream_class(s[i], classes[i]);
        }
        for (int n = 0; n < 80; n++) count(&p[n % 4], 1, s[n % 4]);
        for (int i = 0; i < 4; i++) OK(hipStreamDestroy(s[i]));
        OK(hipDeviceSynchronize());
    }
    say("%lu %lu %lu %lu", (unsigned long)p[0], (unsigned long)p[1], (unsigned long)p[2], (unsigned long)p[3]);
}

static void a_fork_amid_groups(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    xsched_thread_class(XSCHED_LOW);
    for (int i = 0; i < 30; i++) count(p, 1, s);
    pid_t child = fork();
    if (!child) {
        /* It has no work, and its hint counts for what it will have. */
        xsched_thread_class(XSCHED_HIGH);
        xsched_burst_begin();
        xsched_burst_end();
        _exit(7);
    }
    int status = 0;
    TRUE(waitpid(child, &status, 0) == child);
    say("child %d", WEXITSTATUS(status));
    for (int i = 0; i < 30; i++) count(p, 1, s);
    SHOW(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

static void *ends_at_work(void *data) {
    struct task *task = data;
    xsched_thread_class(task->class);
    xsched_burst_begin();
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        count(task->counter, 1, task->stream);
        __atomic_add_fetch(&task->rounds, 1, __ATOMIC_SEQ_CST);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        pthread_testcancel();
    }
    return NULL;
}

static void threads_of_groups_end_at_work(void) {
    enum { THREADS = 6 };
    struct task tasks[THREADS];
    uint64_t launched = 0, *p = device(8);
    kernel("counter");
    for (int i = 0; i < THREADS; i++) {
        tasks[i] = (struct task){.class = classes[i % 3], .stream = stream_of(hipStreamNonBlocking), .counter = p};
        TRUE(!pthread_create(&tasks[i].thread, NULL, ends_at_work, &tasks[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        while (__atomic_load_n(&tasks[i].rounds, __ATOMIC_SEQ_CST) < 10) usleep(100);
        pthread_cancel(tasks[i].thread);
        pthread_join(tasks[i].thread, NULL);
        launched += (uint64_t)tasks[i].rounds;
    }
    SHOW(hipDeviceSynchronize());
    TRUE(*p == launched);
    for (int i = 0; i < 10; i++) count(p, 1, NULL);
    SHOW(hipDeviceSynchronize());
}

static void three_hundred_threads_in_groups(void) {
    enum { THREADS = 300 };
    static struct task tasks[THREADS];
    uint64_t *p = device(8);
    hipStream_t s[4];
    kernel("counter");
    for (int i = 0; i < 4; i++) s[i] = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < THREADS; i++) {
        tasks[i] = (struct task){.class = classes[i % 4], .stream = s[i / 4 % 4], .counter = p, .rounds = 6};
        start(&tasks[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(tasks[i].thread, NULL);
    SHOW(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
}

static void a_graph_is_captured_in_one_group_and_launched_in_another(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    hipGraph_t graph;
    hipGraphExec_t exec;
    kernel("counter");
    xsched_thread_class(XSCHED_LOW);
    OK(hipStreamBeginCapture(s, hipStreamCaptureModeThreadLocal));
    for (int i = 0; i < 5; i++) count(p, 1, s);
    OK(hipStreamEndCapture(s, &graph));
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    for (int i = 0; i < 12; i++) {
        xsched_thread_class(classes[i % 4]);
        OK(hipGraphLaunch(exec, s));
    }
    SHOW(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

CASES(CASE(groups_share_a_stream), CASE(groups_share_the_default_stream), CASE(default_stream_between_groups), CASE(a_high_stream_waits_for_a_low_event),
      CASE(events_go_around_all_groups), CASE(a_lock_between_groups), CASE(a_high_kernel_needs_low_launches), CASE(a_host_function_waits_for_a_low_thread),
      CASE(a_thread_changes_class_amid_a_burst), CASE(a_thread_is_renamed_amid_its_work), CASE(streams_have_classes_of_their_own), CASE(a_fork_amid_groups),
      CASE(threads_of_groups_end_at_work), CASE(three_hundred_threads_in_groups), CASE(a_graph_is_captured_in_one_group_and_launched_in_another))
