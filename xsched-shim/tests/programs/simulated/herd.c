/* Many threads, each with a stream of its own, which launch kernels as fast as they may and look at their work every
 * eight launches. Says "joined", waits for a line, runs for so long after that, and says in one line:
 *
 *     LAUNCHES WORST_US UNFINISHED_US NEVER CPU_US ELAPSED_US
 *
 * the launches of all; the longest of them; how long the one that is not done yet has taken, at most; threads that have
 * not launched at all; processor time and time of the run.
 *
 *     herd THREADS MS KERNEL_US */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "hipsim.h"

struct member {
    pthread_t thread;
    long launches, worst;
    atomic_long since; /* when its launch began; 0: amid none */
};

static hipFunction_t spin;
static uint64_t kernel_ns;
static atomic_int stop;

static long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static long cpu_us(const struct rusage *u) {
    return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000 + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

static int launch(hipStream_t stream) {
    void *arguments[] = {&kernel_ns};
    return hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, stream, arguments, NULL);
}

static void *work(void *data) {
    struct member *me = data;
    hipStream_t stream;
    if (hipStreamCreateWithFlags(&stream, hipStreamNonBlocking)) abort();
    while (!stop) {
        long begun = now_us();
        me->since = begun;
        if (launch(stream)) abort();
        me->since = 0;
        long took = now_us() - begun;
        if (took > me->worst) me->worst = took;
        if (++me->launches % 8 == 0 && hipStreamSynchronize(stream)) abort();
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int threads = atoi(argv[1]);
    useconds_t time = 1000 * atoi(argv[2]);
    kernel_ns = 1000 * strtoul(argv[3], NULL, 10);
    struct member *members = calloc(threads, sizeof *members);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    hipModule_t module;
    if (hipModuleLoadData(&module, HIPSIM_MODULE) || hipModuleGetFunction(&spin, module, "hipsim_spin")) return 1;
    if (launch(NULL) || hipDeviceSynchronize()) return 1; /* joins */
    puts("joined");
    fflush(stdout);
    getchar(); /* until the gate is as it is to be */
    for (int i = 0; i < threads; i++)
        if (pthread_create(&members[i].thread, &small, work, &members[i])) return perror("pthread_create"), 1;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    long begun = now_us();
    usleep(time);
    getrusage(RUSAGE_SELF, &after);
    long ended = now_us(), launches = 0, worst = 0, unfinished = 0, never = 0;
    for (int i = 0; i < threads; i++) {
        long since = members[i].since;
        if (since && ended - since > unfinished) unfinished = ended - since;
        if (members[i].worst > worst) worst = members[i].worst;
        launches += members[i].launches;
        never += members[i].launches == 0;
    }
    printf("%ld %ld %ld %ld %ld %ld\n", launches, worst, unfinished, never, cpu_us(&after) - cpu_us(&before),
           ended - begun);
    fflush(stdout);
    stop = 1;
    getchar(); /* until whoever reads this has seen what it wants of the process */
    _exit(0);
}
