/* What programs and their surroundings do that nobody expects of them. */
#define _GNU_SOURCE
#include "hip.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static const dim3 one = { 1, 1, 1 };

/* One call site for all: whoever calls from a new one is looked up under the loader's lock. */
static __attribute__((noinline)) int launch(int n) {
    int error = 0;
    for (int i = 0; i < n; i++) error |= hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
    return error;
}

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Two attempts to join while another thread could be changing the environment: whoever reads it dies. */
static int in_its_environment(void) {
    extern char **environ;
    char **whole = environ;
    int before = getenv("XSCHED_RUN_DIR") != NULL;
    environ = (char **)8;
    launch(5);
    usleep(1200000);
    launch(5);
    environ = whole;
    return printf("%d %lu\n", before, fake_launches), 0;
}

/* Nothing can be mapped. */
static int without_memory(void) {
    struct rlimit limit, none;
    getrlimit(RLIMIT_AS, &limit);
    none = limit;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_AS, &none);
    int error = launch(5);
    setrlimit(RLIMIT_AS, &limit);
    return printf("%d %lu\n", error, fake_launches), 0;
}

/* Look-ups through whatever stands before the shim. */
static int look_up(const char *runtime) {
    void *handle = dlopen(runtime, RTLD_NOW | RTLD_NOLOAD);
    void *by_default = dlsym(RTLD_DEFAULT, "getpid");
    void *by_handle = handle ? dlsym(handle, "hipLaunchKernel") : NULL;
    return printf("%d %d\n", by_default != NULL, by_handle == (void *)hipLaunchKernel), 0;
}

/* No sockets and no links for this program, as in a sandbox; errno is its own. */
static int in_a_sandbox(void) {
#define REFUSE(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
                     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        REFUSE(socket), REFUSE(connect), REFUSE(readlink), REFUSE(readlinkat), REFUSE(madvise),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return perror("seccomp"), 1;
    errno = 4242;
    int error = launch(5);
    return printf("%d %lu %d\n", error, fake_launches, errno), 0;
}

/* A daemon's classic mistake: standard error is closed, and a data file gets its number. */
static int lose_standard_error(const char *path) {
    struct stat file;
    close(2);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int error = launch(5);
    fstat(fd, &file);
    return printf("%d %d %ld\n", fd, error, (long)file.st_size), 0;
}

/* Once joined, allows itself what it needs without us and the calls given by number; anything else kills. */
static int allow_itself(char **numbers) {
    enum { MOST = 64 };
    static struct sock_filter filter[2 * MOST + 3];
    int n = 0, allowed[MOST] = { SYS_read, SYS_write, SYS_exit_group, SYS_rt_sigreturn }, count = 4;
    for (; *numbers && count < MOST; numbers++) allowed[count++] = atoi(*numbers);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = { n, filter };
    launch(1); /* joins */
    hipDeviceSynchronize();
    printf("joined\n");
    fflush(stdout);
    getchar(); /* until the gate is closed */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return perror("seccomp"), 1;
    long begun = now_ms();
    int error = launch(3);
    error |= hipDeviceSynchronize();
    printf("%d %ld\n", error, now_ms() - begun);
    fflush(stdout);
    getchar();
    return 0;
}

/* A signal handler that jumps out of a wait at the gate, over and over: a
   launch with a timeout, tried again until it succeeds. */
static sigjmp_buf out;
static volatile sig_atomic_t launching, launched, jumps;
static void jump(int signal) {
    (void)signal;
    if (!launching) return;
    jumps++;
    siglongjmp(out, 1);
}

static void *interrupted(void *data) {
    (void)data;
    volatile long begun = now_ms();
    sigsetjmp(out, 1);
    launching = 1;
    launch(1);
    launching = 0;
    launched = 1;
    printf("%ld %d\n", now_ms() - begun, (int)jumps);
    begun = now_ms();
    launch(1);
    printf("%ld\n", now_ms() - begun);
    fflush(stdout);
    return NULL;
}

/* Jumps out of a wait once, does something else, and launches from deeper in its stack than it waited. */
static __attribute__((noinline)) int launch_deeper(int n) {
    volatile char frame[4096];
    frame[0] = 0;
    return launch(n) + frame[0];
}

static void *once_interrupted(void *data) {
    (void)data;
    if (!sigsetjmp(out, 1)) {
        launching = 1;
        launch(1);
    }
    launching = 0;
    launched = 1;
    usleep(400000);
    long begun = now_ms();
    launch_deeper(4);
    printf("%d %ld\n", (int)jumps, now_ms() - begun);
    fflush(stdout);
    return NULL;
}

static int jump_out(void *(*interrupted)(void *)) {
    pthread_t thread;
    launch(1); /* joins */
    hipDeviceSynchronize(); /* nothing to ask the runtime about: no jump out of it */
    printf("joined\n");
    fflush(stdout);
    getchar(); /* until the gate is closed */
    signal(SIGUSR1, jump);
    pthread_create(&thread, NULL, interrupted, NULL);
    while (usleep(30000), !launched) pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    getchar();
    return 0;
}

static void *wait_at_gate(void *data) {
    (void)data;
    launch(1);
    return NULL;
}

/* A signal that ends its thread, which waits at the gate: the way to cancel a
   thread where pthread_cancel is missing or not trusted. */
static void end_thread(int signal) { (void)signal; pthread_exit((void *)7); }

static int end_at_the_gate(void) {
    pthread_t thread;
    void *result = NULL;
    launch(1); /* joins */
    hipDeviceSynchronize();
    printf("joined\n");
    fflush(stdout);
    getchar(); /* until the gate is closed */
    signal(SIGUSR1, end_thread);
    pthread_create(&thread, NULL, wait_at_gate, NULL);
    usleep(30000);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, &result);
    long begun = now_ms();
    launch(1);
    printf("%d %ld\n", (int)(intptr_t)result, now_ms() - begun);
    fflush(stdout);
    getchar();
    return 0;
}

/* Threads that are ended at whatever instruction of the shim they happen to be. */
static uintptr_t shim_code, shim_code_end;
static volatile int stop;
static __thread volatile int ending;

static int find_shim(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size; (void)data;
    if (!strstr(info->dlpi_name, "libxsched_shim")) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        shim_code = info->dlpi_addr + p->p_vaddr;
        shim_code_end = shim_code + p->p_memsz;
    }
    return 1;
}

static void end_in_shim(int signal, siginfo_t *info, void *context) {
    (void)signal; (void)info;
    uintptr_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (ending || at < shim_code || at >= shim_code_end) return;
    ending = 1;
    pthread_exit((void *)7);
}

static void end_in_query(void) {
    if (ending) pthread_exit((void *)7);
}

static void *launch_on(void *doomed) {
    ending = doomed != NULL;
    while (!stop) launch(1);
    return NULL;
}

static void *just_end(void *data) { pthread_exit(data); }

/* What is as ever behind them: how long launches and the beginning of a capture take, ms. */
static int after_them(int ended) {
    stream_t stream;
    void *graph;
    long begun = now_ms();
    int error = launch(50);
    long launched = now_ms();
    error |= hipStreamCreate(&stream) | hipStreamBeginCapture(stream, 0);
    long captured = now_ms();
    error |= hipStreamEndCapture(stream, &graph) | hipDeviceSynchronize();
    printf("%d %d %ld %ld\n", error, ended, launched - begun, captured - launched);
    fflush(stdout);
    getchar();
    return 0;
}

static void begin_under_a_cap(void) {
    pthread_t thread;
    fake_set_kernel_ns(20000);
    launch(1); /* joins */
    hipDeviceSynchronize();
    pthread_create(&thread, NULL, just_end, NULL); /* loads what unwinds */
    pthread_join(thread, NULL);
    dl_iterate_phdr(find_shim, NULL);
    printf("joined\n");
    fflush(stdout);
    getchar(); /* until there is a cap */
}

static int end_anywhere(int rounds) {
    enum { THREADS = 4 };
    struct sigaction action = { .sa_sigaction = end_in_shim, .sa_flags = SA_SIGINFO };
    pthread_t threads[THREADS];
    unsigned seed = 7;
    int ended = 0;
    begin_under_a_cap();
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, launch_on, NULL);
    while (ended < rounds) {
        pthread_t *thread = &threads[ended % THREADS];
        usleep(rand_r(&seed) % 150);
        pthread_kill(*thread, SIGUSR1);
        usleep(20);
        if (pthread_tryjoin_np(*thread, NULL)) continue;
        ended++;
        pthread_create(thread, NULL, launch_on, NULL);
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return after_them(ended);
}

static int end_in_queries(int rounds) {
    int ended = 0;
    begin_under_a_cap();
    fake_on_query = end_in_query;
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        void *result = NULL;
        pthread_create(&thread, NULL, launch_on, (void *)1);
        pthread_join(thread, &result);
        ended += result == (void *)7;
    }
    return after_them(ended);
}

/* A launch that joins takes too long, and its handler jumps out of it. Then launches for some seconds. */
static int jump_out_of_joining(void) {
    signal(SIGALRM, jump);
    launching = 1;
    if (!sigsetjmp(out, 1)) {
        ualarm(20000, 0);
        launch(1);
    }
    launching = 0;
    printf("%d\n", (int)jumps);
    fflush(stdout);
    getchar(); /* until there is another agent */
    for (int i = 0; i < 350; i++) {
        launch(1);
        usleep(10000);
    }
    return 0;
}

static pthread_t waiter;
static long exit_begun;
static void join_waiter(void) {
    pthread_join(waiter, NULL);
    printf("%ld\n", now_ms() - exit_begun);
}

/* A destructor that waits for a thread which waits at the gate. */
static int exit_beside_a_waiter(void) {
    atexit(join_waiter);
    launch(1);
    printf("joined\n");
    fflush(stdout);
    getchar();
    pthread_create(&waiter, NULL, wait_at_gate, NULL);
    usleep(20000);
    exit_begun = now_ms();
    return 0;
}

static int hold_linker_lock(struct dl_phdr_info *image, size_t size, void *data) {
    (void)image, (void)size, (void)data;
    usleep(100000);
    return 1;
}
static void *walk_objects(void *data) {
    for (;;) dl_iterate_phdr(hold_linker_lock, data);
    return NULL;
}

/* A fork's child names itself while a thread that it lacks held the dynamic linker's lock. */
static int name_a_child(void) {
    pthread_t walker;
    pthread_create(&walker, NULL, walk_objects, NULL);
    usleep(50000);
    pid_t child = fork();
    if (child == 0) {
        alarm(5);
        prctl(PR_SET_NAME, "child");
        pthread_setname_np(pthread_self(), "worker");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d\n", status);
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "memory")) return without_memory();
    if (!strcmp(what, "environment")) return in_its_environment();
    if (!strcmp(what, "lookup")) return look_up(argv[2]);
    if (!strcmp(what, "sandbox")) return in_a_sandbox();
    if (!strcmp(what, "stderr")) return lose_standard_error(argv[2]);
    if (!strcmp(what, "filter")) return allow_itself(argv + 2);
    if (!strcmp(what, "jump")) return jump_out(interrupted);
    if (!strcmp(what, "deeper")) return jump_out(once_interrupted);
    if (!strcmp(what, "end")) return end_at_the_gate();
    if (!strcmp(what, "anywhere")) return end_anywhere(atoi(argv[2]));
    if (!strcmp(what, "queries")) return end_in_queries(atoi(argv[2]));
    if (!strcmp(what, "joining")) return jump_out_of_joining();
    if (!strcmp(what, "exit")) return exit_beside_a_waiter();
    if (!strcmp(what, "child")) return name_a_child();
    if (!strcmp(what, "launch")) return printf("%d\n", launch(5)), 0;
    return 2;
}
