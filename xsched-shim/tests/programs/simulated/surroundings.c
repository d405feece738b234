/* surroundings WHAT [ARGUMENTS]: real work, of which the sum is checked, where a program may find itself: beside
 * children of all kinds, without its descriptors, on other stacks. Prints what it computed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "hipsim.h"

#define OK(call) do { int e_ = (call); if (e_) { printf("line %d: error %d\n", __LINE__, e_); exit(70); } } while (0)
extern char **environ;

static hipFunction_t counter_kernel(void) {
    hipModule_t module;
    hipFunction_t counter;
    OK(hipModuleLoadData(&module, HIPSIM_MODULE));
    OK(hipModuleGetFunction(&counter, module, "counter"));
    return counter;
}

static int count(hipFunction_t counter, hipStream_t stream, uint64_t *at, uint64_t add) {
    void *arguments[] = {&at, &add};
    return hipModuleLaunchKernel(counter, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL);
}

/* n kernels on two streams; the sum of 0 to n - 1. */
static uint64_t work(int n) {
    hipFunction_t counter = counter_kernel();
    hipStream_t streams[2];
    uint64_t *sums, out[2] = {0, 0};
    OK(hipMalloc((void **)&sums, sizeof out));
    OK(hipMemcpy(sums, out, sizeof out, 1));
    for (int i = 0; i < 2; i++) OK(hipStreamCreateWithFlags(&streams[i], hipStreamNonBlocking));
    for (int i = 0; i < n; i++) {
        OK(count(counter, streams[i % 2], &sums[i % 2], i));
        if (i % 37 == 36) OK(hipStreamSynchronize(streams[i % 2]));
    }
    OK(hipDeviceSynchronize());
    OK(hipMemcpy(out, sums, sizeof out, 2));
    OK(hipFree(sums));
    for (int i = 0; i < 2; i++) OK(hipStreamDestroy(streams[i]));
    return out[0] + out[1];
}

static volatile int stop;
static void *work_on(void *data) {
    while (!stop) work(20);
    return data;
}

static int close_everything(void *data) {
    syscall(SYS_close_range, 3, ~0u, 0);
    ++*(volatile int *)data;
    return 7;
}

/* Children that share our memory for a while, beside threads that launch. */
static void children(void) {
    static char stack[65536] __attribute__((aligned(16)));
    char *arguments[] = {"true", NULL};
    int status, bad = 0, ran = 0;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work_on, NULL);
    for (int i = 0; i < 15; i++) {
        pid_t child = vfork();
        if (child == 0) {
            syscall(SYS_close_range, 3, ~0u, 0);
            execl("/bin/true", "true", NULL);
            _exit(1);
        }
        waitpid(child, &status, 0);
        bad += status != 0;
        bad += posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) != 0;
        waitpid(child, &status, 0);
        bad += status != 0;
        child = clone(close_everything, stack + sizeof stack, CLONE_VM | SIGCHLD, &ran);
        waitpid(child, &status, 0);
        bad += WEXITSTATUS(status) != 7;
    }
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("%d bad, %d ran, %lu\n", bad, ran, work(40));
}

static uint64_t of_child;
static int work_as_child(void *data) {
    of_child = work(60);
    return data != NULL;
}

/* A process of its own in our memory launches, as helpers of sandboxes do. */
static void shared_memory(void) {
    static char stack[1 << 20] __attribute__((aligned(16)));
    int status;
    uint64_t before = work(40);
    pid_t child = clone(work_as_child, stack + sizeof stack, CLONE_VM | CLONE_FS | SIGCHLD, NULL);
    waitpid(child, &status, 0);
    uint64_t after = work(50);
    printf("%lu %lu %lu, %x\n", before, of_child, after, status);
}

/* Closes all descriptors between launches, and opens its own in their place. */
static void descriptors(const char *path) {
    uint64_t sum = work(50);
    for (int round = 0; round < 10; round++) {
        syscall(SYS_close_range, 3, ~0u, 0);
        int own[60], bell = eventfd(0, EFD_NONBLOCK), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        for (int i = 0; i < 60; i++) own[i] = fcntl(i % 3 ? file : bell, F_DUPFD, 395 + i * 2 % 50);
        sum += work(40);
        uint64_t rung;
        if (read(bell, &rung, sizeof rung) == sizeof rung) printf("rung %lu times\n", rung);
        if (lseek(file, 0, SEEK_END) != 0) puts("written to");
        for (int i = 0; i < 60; i++)
            if (fcntl(own[i], F_GETFD) < 0) puts("closed");
        if (round % 5 == 4) usleep(1100000); /* until it joins again */
    }
    printf("%lu\n", sum);
}

/* The process that works is a grandchild without a descriptor of its parents. */
static void daemonized(const char *path) {
    int done[2];
    char text[64] = "";
    if (pipe(done)) exit(71);
    if (fork() == 0) {
        setsid();
        if (fork()) _exit(0);
        dup2(done[1], 399);
        syscall(SYS_close_range, 0, 398, 0);
        syscall(SYS_close_range, 400, ~0u, 0);
        open("/dev/null", O_RDWR);
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(file, 2);
        dprintf(399, "%lu, %ld\n", work(60), (long)lseek(2, 0, SEEK_END));
        _exit(0);
    }
    close(done[1]);
    for (ssize_t n, at = 0; (n = read(done[0], text + at, sizeof text - 1 - at)) > 0;) at += n;
    fputs(text, stdout);
    wait(NULL);
}

/* Opens the device and leaves for an empty root as nobody. */
static void new_root(const char *path) {
    uint64_t first = work(30);
    if (chroot(path) || chdir("/") || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)) exit(72);
    uint64_t second = work(40);
    usleep(1100000); /* until it tries to join again */
    printf("%lu %lu %lu\n", first, second, work(50));
}

enum { FIBRES = 6 };
static ucontext_t fibres[FIBRES], homes[2];
static uint64_t sums[FIBRES];

static void fibre(int i) {
    for (int round = 0; round < 4; round++) {
        sums[i] += work(20);
        swapcontext(&fibres[i], &homes[round & 1]);
    }
    swapcontext(&fibres[i], &homes[0]);
}

static void *run_fibres(void *home) {
    for (int i = 0; i < FIBRES; i++) swapcontext(home, &fibres[i]);
    return NULL;
}

/* Fibres on small stacks, which move between threads. */
static void fibres_move(void) {
    size_t size = 65536;
    for (int i = 0; i < FIBRES; i++) {
        char *stack = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(stack, 4096, PROT_NONE);
        getcontext(&fibres[i]);
        fibres[i].uc_stack.ss_sp = stack + 4096;
        fibres[i].uc_stack.ss_size = size;
        makecontext(&fibres[i], (void (*)(void))fibre, 1, i);
    }
    uint64_t all = 0;
    for (int turn = 0; turn < 4; turn++) {
        pthread_t thread;
        if (turn % 2 == 0) {
            run_fibres(&homes[0]);
        } else {
            pthread_create(&thread, NULL, run_fibres, &homes[1]);
            pthread_join(thread, NULL);
        }
    }
    for (int i = 0; i < FIBRES; i++) all += sums[i];
    printf("%lu\n", all);
}

static hipFunction_t counter;
static hipStream_t stream;
static uint64_t *cells;
static volatile sig_atomic_t allowed, launched;
static void launch_in_handler(int signal) {
    (void)signal;
    if (!allowed) return;
    allowed = 0;
    if (!count(counter, stream, &cells[1], 1)) launched++;
}

/* A handler launches on a small stack of its own, between the launches of main and while those wait. */
static void handlers(void) {
    enum { LAUNCHES = 400 };
    counter = counter_kernel();
    OK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    OK(hipMalloc((void **)&cells, 16));
    cells[0] = cells[1] = 0;
    stack_t stack = {.ss_sp = malloc(16384), .ss_size = 16384};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = launch_in_handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 700}, {0, 700}}, none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
    volatile double sink = 0;
    for (int i = 0; i < LAUNCHES; i++) {
        allowed = 1;
        for (int k = 0; k < 20000 && allowed; k++) sink += k;
        allowed = 0;
        OK(count(counter, stream, &cells[0], 1));
        if (i % 64 == 0) OK(hipStreamSynchronize(stream));
    }
    setitimer(ITIMER_REAL, &none, NULL);
    OK(hipDeviceSynchronize());
    printf("%d %d\n", cells[0] == LAUNCHES, launched > 0 && cells[1] == (uint64_t)launched);
}

/* Opens a runtime, works and closes it again. */
static uint64_t once(const char *library) {
    void *runtime = dlopen(library, RTLD_NOW | RTLD_LOCAL), *module, *function;
    if (!runtime) exit(73);
    int (*load)(void **, const void *) = dlsym(runtime, "hipModuleLoadData");
    int (*get)(void **, void *, const char *) = dlsym(runtime, "hipModuleGetFunction");
    int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) =
        dlsym(runtime, "hipModuleLaunchKernel");
    int (*synchronize)(void) = dlsym(runtime, "hipDeviceSynchronize");
    static __thread uint64_t sum;
    uint64_t *at = &sum;
    sum = 0;
    OK(load(&module, HIPSIM_MODULE));
    OK(get(&function, module, "counter"));
    for (uint64_t i = 0; i < 8; i++) {
        void *arguments[] = {&at, &i};
        OK(launch(function, 1, 1, 1, 1, 1, 1, 1, NULL, arguments, NULL));
    }
    OK(synchronize());
    dlclose(runtime);
    return sum;
}

static char **runtimes;
static void *open_and_close(void *data) {
    uint64_t all = 0;
    for (int i = 0; i < 30; i++) all += once(runtimes[i & 1]);
    *(uint64_t *)data = all;
    return NULL;
}

/* Two runtimes come and go, by turns and in several threads. */
static void come_and_go(char **paths) {
    uint64_t all = 0, of_threads[3];
    pthread_t threads[3];
    runtimes = paths;
    for (int i = 0; i < 200; i++) all += once(paths[i & 1]);
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, open_and_close, &of_threads[i]);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("%lu %lu %lu %lu\n", all, of_threads[0], of_threads[1], of_threads[2]);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "work")) printf("%lu\n", work(200));
    else if (!strcmp(what, "children")) children();
    else if (!strcmp(what, "shared-memory")) shared_memory();
    else if (!strcmp(what, "descriptors")) descriptors(argv[2]);
    else if (!strcmp(what, "daemon")) daemonized(argv[2]);
    else if (!strcmp(what, "root")) new_root(argv[2]);
    else if (!strcmp(what, "fibres")) fibres_move();
    else if (!strcmp(what, "handlers")) handlers();
    else if (!strcmp(what, "come-and-go")) come_and_go(argv + 2);
    else return 2;
    return 0;
}
