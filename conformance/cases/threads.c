/* Threads, their ends, the program's end, and signals. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hip.h"

static hipStream_t shared[4];
static uint64_t *counters;

static void *launch_on_shared(void *data) {
    for (uint64_t i = 0; i < 300; i++) {
        hipStream_t s = shared[i % 4];
        count(&counters[i % 4], (uint64_t)data, s);
        if (i % 60 == 0) OK(hipStreamSynchronize(s));
    }
    return NULL;
}

static void threads_share_streams(void) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    counters = device(4 * 8);
    kernel("counter");
    for (int i = 0; i < 4; i++) shared[i] = stream_of((unsigned)i % 2);
    for (uint64_t i = 0; i < THREADS; i++) TRUE(!pthread_create(&threads[i], NULL, launch_on_shared, (void *)(i + 1)));
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    OK(hipDeviceSynchronize());
    say("%lu %lu %lu %lu", (unsigned long)counters[0], (unsigned long)counters[1], (unsigned long)counters[2],
        (unsigned long)counters[3]);
    TRUE(counters[0] == 36 * 75);
}

static pthread_barrier_t barrier;

static void *first_use(void *data) {
    hipModule_t module;
    hipFunction_t counter;
    hipStream_t s;
    uint64_t *p, add = (uint64_t)data, seen = 0;
    void *params[] = {&p, &add};
    pthread_barrier_wait(&barrier);
    OK(hipMalloc((void **)&p, 8));
    OK(hipMemset(p, 0, 8));
    OK(hipStreamCreate(&s));
    OK(hipModuleLoadData(&module, MODULE));
    OK(hipModuleGetFunction(&counter, module, "counter"));
    for (int i = 0; i < 5; i++) OK(hipModuleLaunchKernel(counter, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
    OK(hipMemcpyAsync(&seen, p, 8, hipMemcpyDeviceToHost, s));
    OK(hipStreamSynchronize(s));
    TRUE(seen == 5 * add);
    return (void *)seen;
}

static void first_use_by_many_threads(void) {
    enum { THREADS = 32 };
    pthread_t threads[THREADS];
    uint64_t sum = 0;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (uint64_t i = 0; i < THREADS; i++) TRUE(!pthread_create(&threads[i], NULL, first_use, (void *)i));
    for (int i = 0; i < THREADS; i++) {
        void *seen;
        pthread_join(threads[i], &seen);
        sum += (uint64_t)seen;
    }
    say("sum %lu", (unsigned long)sum);
}

static void *leave_work_behind(void *data) {
    for (int i = 0; i < 20; i++) count(data, 1, i % 2 ? shared[0] : hipStreamPerThread);
    return NULL;
}

static void threads_exit_with_pending_work(void) {
    uint64_t *p = device(8);
    kernel("counter");
    shared[0] = stream_of(hipStreamNonBlocking);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        TRUE(!pthread_create(&thread, NULL, leave_work_behind, &p[0]));
        pthread_join(thread, NULL);
    }
    SHOW(hipStreamSynchronize(shared[0]));
    SHOW(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
}

static void launch_at_thread_end(void *data) {
    for (int i = 0; i < 10; i++) count(data, 1, i % 2 ? NULL : hipStreamPerThread);
    OK(hipStreamSynchronize(NULL));
    OK(hipStreamSynchronize(hipStreamPerThread));
}

extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
extern void *__dso_handle;
static pthread_key_t key;

static void *end_with_destructors(void *data) {
    pthread_setspecific(key, data);
    /* What a C++ thread_local object with a destructor registers; both kinds run after the thread's function. */
    TRUE(!__cxa_thread_atexit_impl(launch_at_thread_end, data, &__dso_handle));
    count(data, 1, NULL);
    return NULL;
}

static void *end_with_destructors_at_first_use(void *data) {
    pthread_setspecific(key, data);
    return NULL; /* the destructor launches first */
}

static void launches_from_thread_destructors(void) {
    uint64_t *p = device(8);
    kernel("counter");
    TRUE(!pthread_key_create(&key, launch_at_thread_end));
    for (int round = 0; round < 10; round++) {
        pthread_t threads[2];
        TRUE(!pthread_create(&threads[0], NULL, end_with_destructors, p));
        TRUE(!pthread_create(&threads[1], NULL, end_with_destructors_at_first_use, p));
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
        OK(hipDeviceSynchronize());
        say("counted %lu", (unsigned long)*p);
        TRUE(*p == 31u * (unsigned)(round + 1));
    }
}

static void *launch_until_cancelled(void *data) {
    for (;;) {
        pthread_testcancel();
        count(data, 1, hipStreamPerThread);
        spin(0.05, hipStreamPerThread);
    }
    return NULL;
}

/* Wherever cancellation meets the thread, nothing that others need may stay locked. */
static void cancelled_threads(void) {
    uint64_t *p = device(8);
    kernel("counter"), kernel("hipsim_spin");
    for (int round = 0; round < 10; round++) {
        pthread_t threads[2];
        void *result;
        for (int i = 0; i < 2; i++) TRUE(!pthread_create(&threads[i], NULL, launch_until_cancelled, p));
        sleep_ms(2);
        for (int i = 0; i < 2; i++) pthread_cancel(threads[i]);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], &result);
            TRUE(result == PTHREAD_CANCELED);
        }
        OK(hipDeviceSynchronize());
        spin(0.01, NULL);
        SHOW(hipStreamSynchronize(NULL));
    }
}

static uint64_t *at_exit_counter;
static hipStream_t at_exit_stream;

static void launch_at_exit(void) {
    for (int i = 0; i < 20; i++) count(at_exit_counter, 1, at_exit_stream);
    OK(hipStreamSynchronize(at_exit_stream));
    say("at exit: %lu", (unsigned long)*at_exit_counter);
}

__attribute__((destructor)) static void launch_in_destructor(void) {
    if (!at_exit_counter) return;
    launch_at_exit();
}

static void launches_from_atexit_and_destructors(void) {
    at_exit_counter = device(8);
    at_exit_stream = stream_of(0);
    atexit(launch_at_exit);
    count(at_exit_counter, 100, at_exit_stream);
    say("leaving");
}

static void exit_with_work_queued(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < 50; i++) spin(10, s), count(p, 1, s);
    say("leaving");
    exit(0);
}

static void *launch_for_ever(void *data) {
    for (;;) {
        count(data, 1, hipStreamPerThread);
        OK(hipStreamSynchronize(hipStreamPerThread));
    }
    return NULL;
}

static void exit_beside_launching_threads(void) {
    uint64_t *p = device(16);
    kernel("counter");
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        TRUE(!pthread_create(&thread, NULL, launch_for_ever, &p[0]));
    }
    sleep_ms(10);
    say("leaving");
    exit(0);
}

static volatile sig_atomic_t signals;

static void handler(int signal) {
    (void)signal;
    signals++;
    errno = EILSEQ; /* a handler that does not keep errno */
}

static void tick(int every_us) {
    struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART */
    struct itimerval timer = {{0, every_us}, {0, every_us}};
    TRUE(!sigaction(SIGALRM, &action, NULL));
    TRUE(!setitimer(ITIMER_REAL, &timer, NULL));
}

static void signals_during_waits(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    float host[64], *x = ramp(64);
    tick(500);
    for (int round = 0; round < 10; round++) {
        double begun = now_ms();
        spin(5, s);
        count(p, 1, s);
        OK(hipStreamSynchronize(s));
        TRUE(now_ms() - begun >= 5 && *p == (uint64_t)round + 1); /* no early return */
        OK(hipMemcpy(host, x, sizeof host, hipMemcpyDeviceToHost));
    }
    TRUE(signals > 20);
    say("counted %lu, signals arrived", (unsigned long)*p);
}

static void signals_during_launches(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), launched = 0;
    double deadline = now_ms() + 50;
    tick(300);
    while (now_ms() < deadline || signals < 20) {
        count(p, 1, s);
        if (++launched % 16 == 0) OK(hipStreamSynchronize(s));
    }
    tick(0);
    OK(hipStreamSynchronize(s));
    TRUE(*p == launched);
    say("every launch ran once, signals arrived");
}

static void errno_is_kept(void) {
    hipStream_t s = stream_of(0);
    hipEvent_t e = event_of(hipEventDisableTiming);
    uint64_t *p = device(8);
    hipFunction_t counter = kernel("counter");
    uint64_t add = 1;
    void *params[] = {&p, &add};
    for (int i = 0; i < 400; i++) {
        errno = ENOTTY;
        OK(hipModuleLaunchKernel(counter, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
        OK(hipEventRecord(e, s));
        OK(hipEventQuery(e) == hipErrorNotReady ? hipSuccess : hipSuccess);
        TRUE(errno == ENOTTY);
    }
    OK(hipStreamSynchronize(s));
    say("errno kept, counted %lu", (unsigned long)*p);
}

static void *masked(void *data) {
    sigset_t all, before, after;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (int i = 0; i < 50; i++) count(data, 1, NULL);
    OK(hipStreamSynchronize(NULL));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    sigfillset(&before);
    TRUE(sigismember(&after, SIGUSR1) && sigismember(&after, SIGTERM));
    return NULL;
}

/* A program that waits for signals in one thread must get them there, not in a thread of the shim. */
static void blocked_signals_stay_blocked(void) {
    sigset_t usr1;
    siginfo_t info;
    pthread_t thread;
    uint64_t *p = device(8);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    kernel("counter");
    TRUE(!pthread_create(&thread, NULL, masked, p));
    kill(getpid(), SIGUSR1);
    pthread_join(thread, NULL);
    TRUE(sigwaitinfo(&usr1, &info) == SIGUSR1 && info.si_pid == getpid());
    say("signal waited for, counted %lu", (unsigned long)*p);
}

CASES(CASE(threads_share_streams), CASE(first_use_by_many_threads), CASE(threads_exit_with_pending_work),
      CASE(launches_from_thread_destructors), CASE(cancelled_threads),
      CASE(launches_from_atexit_and_destructors), CASE(exit_with_work_queued),
      CASE(exit_beside_launching_threads), CASE(signals_during_waits), CASE(signals_during_launches), CASE(errno_is_kept),
      CASE(blocked_signals_stay_blocked))
