/* A HIP program that does what its standard input says, a line at a time,
 * and answers each line with one line. */
#define _GNU_SOURCE
#include "../../../crates/xsched-hint/include/xsched.h"
#include "hip.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static stream_t streams[2048];
static event_t event;
static const dim3 one = { 1, 1, 1 };

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int launch(int n, int stream) {
    int error = 0;
    for (int i = 0; i < n; i++) error |= hipLaunchKernel(NULL, one, one, NULL, 0, streams[stream]);
    return error;
}

struct job { int n, stream; };
static void *launch_thread(void *job) {
    struct job *j = job;
    launch(j->n, j->stream);
    return NULL;
}

static void *ask_thread(void *class) {
    xsched_thread_class(*(int *)class);
    xsched_get_status();
    return NULL;
}

static volatile int alarms;
static void on_alarm(int signal) { (void)signal; alarms++; }

/* The alarm, which comes without SA_RESTART, would end a read in the middle of
   a line. */
static char *next(char *line, int size) {
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    char *got = fgets(line, size, stdin);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    return got;
}

int main(int argc, char **argv) {
    char line[256], word[64];
    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (next(line, sizeof line)) {
        int a = 0, b = 0, error = 0;
        word[0] = 0;
        sscanf(line, "%63s %d %d", word, &a, &b);
        int64_t start = now();
        if (!strcmp(word, "launch")) error = launch(a, b);
        else if (!strcmp(word, "threads")) { /* a threads, b launches each */
            pthread_t ids[64];
            struct job jobs[64];
            for (int i = 0; i < a; i++) {
                jobs[i] = (struct job){ b, i };
                pthread_create(&ids[i], NULL, launch_thread, &jobs[i]);
            }
            for (int i = 0; i < a; i++) pthread_join(ids[i], NULL);
        } else if (!strcmp(word, "worker")) { /* a launches in another thread */
            pthread_t id;
            struct job job = { a, 0 };
            pthread_create(&id, NULL, launch_thread, &job);
            pthread_join(id, NULL);
        } else if (!strcmp(word, "behind")) { /* b launches on stream a in another thread, for which this one waits */
            pthread_t id;
            struct job job = { b, a };
            pthread_create(&id, NULL, launch_thread, &job);
            do hipStreamSynchronize(streams[a]), usleep(100); while (pthread_tryjoin_np(id, NULL));
        } else if (!strcmp(word, "copy")) error = hipMemcpyAsync(line, line, a, 3, streams[b]);
        else if (!strcmp(word, "read")) { int from = 1, to; error = hipMemcpy(&to, &from, sizeof to, 2); }
        else if (!strcmp(word, "sync")) error = hipDeviceSynchronize();
        else if (!strcmp(word, "streamsync")) error = hipStreamSynchronize(streams[a]);
        else if (!strcmp(word, "create")) error = hipStreamCreate(&streams[a]);
        else if (!strcmp(word, "destroy")) { error = hipStreamDestroy(streams[a]); streams[a] = NULL; }
        else if (!strcmp(word, "record")) {
            if (!event) hipEventCreateWithFlags(&event, 2);
            error = hipEventRecord(event, streams[a]);
        } else if (!strcmp(word, "eventsync")) error = hipEventSynchronize(event);
        else if (!strcmp(word, "eventpoll")) { while ((error = hipEventQuery(event)) == 600) usleep(100); }
        else if (!strcmp(word, "capture")) error = hipStreamBeginCapture(streams[a], 0);
        else if (!strcmp(word, "endcapture")) { void *g; error = hipStreamEndCapture(streams[a], &g); }
        else if (!strcmp(word, "graph")) error = hipGraphLaunch(NULL, streams[a]);
        else if (!strcmp(word, "device")) error = hipSetDevice(a);
        else if (!strcmp(word, "class")) xsched_thread_class(a);
        else if (!strcmp(word, "asks")) { /* a thread asks for class a, and how it stands, and ends */
            pthread_t id;
            pthread_create(&id, NULL, ask_thread, &a);
            pthread_join(id, NULL);
        } else if (!strcmp(word, "streamclass")) error = xsched_hint()(2, (uint64_t)streams[a], b) < -1;
        else if (!strcmp(word, "kernel_us")) fake_set_kernel_ns(a * 1000ll);
        else if (!strcmp(word, "failnext")) fake_next_error = a;
        else if (!strcmp(word, "lasterror")) error = hipGetLastError();
        else if (!strcmp(word, "peekerror")) error = hipPeekAtLastError();
        else if (!strcmp(word, "reenter")) error = fake_reenter();
        else if (!strcmp(word, "resetmax")) fake_reset_max();
        else if (!strcmp(word, "usleep")) usleep(a);
        else if (!strcmp(word, "errno")) { /* launch with errno set, see whether it survives */
            errno = 4242;
            launch(1, 0);
            error = errno;
        } else if (!strcmp(word, "alarm")) { /* a signal every a us, without SA_RESTART */
            struct sigaction sa = { .sa_handler = on_alarm };
            struct itimerval timer = { { 0, a }, { 0, a } };
            sigaction(SIGALRM, &sa, NULL);
            setitimer(ITIMER_REAL, &timer, NULL);
        } else if (!strcmp(word, "alarms")) error = alarms;
        else if (!strcmp(word, "fork")) { /* the child launches a, syncs, and exits with what failed */
            fflush(stdout);
            pid_t pid = fork();
            if (pid == 0) {
                int e = launch(a, 0) | hipDeviceSynchronize();
                usleep(b);
                _exit(e ? 1 : 0);
            }
            int status;
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
            error = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        } else if (!strcmp(word, "exec")) {
            execv("/proc/self/exe", argv);
            error = errno;
        } else if (!strcmp(word, "closefds")) for (int fd = 3; fd < 4096; fd++) close(fd);
        else if (!strcmp(word, "fds")) {
            for (int fd = 3; fd < 4096; fd++) error += dup2(fd, fd) >= 0;
        } else if (!strcmp(word, "stats")) {
            printf("launches=%lu max=%lu records=%lu queries=%lu captured=%lu\n", fake_launches,
                   fake_max_in_flight, fake_records, fake_queries, fake_captured);
            continue;
        } else if (!strcmp(word, "quit")) return 0;
        else { printf("unknown command %s\n", word); continue; }
        printf("%d %ld\n", error, (long)((now() - start) / 1000));
    }
    return 0;
}
