/* fork, exec, and what becomes of descriptors. */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hip.h"

extern char **environ;

/* Uses the device from the beginning and prints what came out. */
static void work(const char *who) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < 30; i++) count(p, 1, i % 2 ? s : NULL);
    OK(hipDeviceSynchronize());
    say("%s: counted %lu", who, (unsigned long)*p);
}

static void ended(pid_t child) {
    int status;
    TRUE(waitpid(child, &status, 0) == child);
    say("child: exited %d with %d, signal %d", WIFEXITED(status), WEXITSTATUS(status), WTERMSIG(status));
}

static void work_in_new_program(void) {
    work("new program");
}

static void fork_before_use(void) {
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (!child) work("child"), _exit(7);
        ended(child);
    }
    work("parent");
}

static void children_beside_each_other(void) {
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        if ((children[i] = fork())) continue;
        hipStream_t s = stream_of(0);
        uint64_t *p = device(8);
        for (int k = 0; k < 100; k++) count(p, 1, s);
        OK(hipStreamSynchronize(s));
        exit(*p == 100 ? i : 99);
    }
    for (int i = 0; i < 4; i++) ended(children[i]);
    work("parent");
}

static void grandchildren(void) {
    pid_t child = fork();
    if (!child) {
        pid_t grandchild = fork();
        if (!grandchild) work("grandchild"), _exit(3);
        ended(grandchild);
        work("child");
        exit(4);
    }
    ended(child);
    work("parent");
}

/* The child has no device of its own: the calls' codes are the runtime's answer to that, with and without the shim. */
static void child_after_use(hipStream_t s) {
    void *p;
    hipStream_t other;
    SHOW(hipStreamSynchronize(s));
    SHOW(hipMalloc(&p, 8));
    SHOW(hipDeviceSynchronize());
    SHOW(hipStreamCreate(&other));
    SHOW(hipLaunchKernel("stub", one, one, NULL, 0, s));
    SHOW(hipMemsetAsync(NULL, 0, 1 << 20, s));
    SHOW(hipGetLastError());
    say("%s", hipGetErrorName(hipSuccess));
}

static void fork_after_use(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 10; k++) count(p, 1, s);
        spin(2, s);
        pid_t child = fork();
        if (!child) child_after_use(s), _exit(5);
        ended(child);
        count(p, 1, s);
        OK(hipStreamSynchronize(s));
        say("parent: counted %lu", (unsigned long)*p);
    }
}

static void fork_after_use_and_exit_by_exit(void) {
    hipStream_t s = stream_of(0);
    spin(1, s);
    pid_t child = fork();
    if (!child) exit(6); /* destructors and exit handlers run in the child */
    ended(child);
    SHOW(hipStreamSynchronize(s));
}

static int stop;

static void *launch_all_the_time(void *data) {
    uint64_t *p = data;
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        count(p, 1, hipStreamPerThread);
        OK(hipStreamSynchronize(hipStreamPerThread));
    }
    return NULL;
}

static void start_again(const char *name) {
    execl("/proc/self/exe", "processes", name, (char *)NULL);
    _exit(127);
}

static void fork_and_exec_beside_launching_threads(void) {
    pthread_t threads[2];
    uint64_t *p = device(256);
    kernel("counter");
    for (int i = 0; i < 2; i++) TRUE(!pthread_create(&threads[i], NULL, launch_all_the_time, &p[8 * i]));
    for (int i = 0; i < 5; i++) {
        sleep_ms(3);
        pid_t child = fork();
        if (!child) start_again("work_in_new_program");
        ended(child);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    SHOW(hipDeviceSynchronize());
}

static void exec_after_use(void) {
    work("old program");
    spin(3, NULL);
    start_again("work_in_new_program");
}

static void spawned_program(void) {
    char *argv[] = {"processes", "work_in_new_program", NULL};
    for (int i = 0; i < 3; i++) {
        pid_t child;
        if (i) work("parent");
        TRUE(!posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ));
        ended(child);
    }
    TRUE(!system("exit 0"));
    work("parent");
}

static void vforked_program(void) {
    work("parent");
    pid_t child = vfork();
    if (!child) {
        execl("/proc/self/exe", "processes", "work_in_new_program", (char *)NULL);
        _exit(127);
    }
    ended(child);
    work("parent");
}

static void every_descriptor_closed(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 50; i++) count(p, 1, s);
        OK(hipStreamSynchronize(s));
        /* Daemons do so. The numbers are the program's again. */
        for (int fd = 3; fd < 1024; fd++) close(fd);
        int fd = open("/dev/null", O_WRONLY);
        TRUE(fd == 3);
        for (int i = 0; i < 50; i++) count(p, 1, s);
        OK(hipStreamSynchronize(s));
        TRUE(write(fd, "x", 1) == 1); /* still our file */
        say("counted %lu", (unsigned long)*p);
    }
}

/* A program finds the descriptors it would find without the shim: the lowest free number is its own. */
static void own_descriptors_have_the_same_numbers(void) {
    int pipes[2];
    work("before");
    TRUE(!pipe(pipes));
    uint64_t *p = device(8);
    count(p, 1, NULL);
    OK(hipDeviceSynchronize());
    TRUE(write(pipes[1], "abc", 3) == 3);
    char text[4] = "";
    TRUE(read(pipes[0], text, 3) == 3);
    say("read %s", text);
    pid_t child = fork();
    if (!child) {
        /* Nothing that was not inherited natively reaches a new program. */
        execl("/bin/sh", "sh", "-c", "ls /proc/self/fd | wc -l", (char *)NULL);
        _exit(127);
    }
    ended(child);
}

CASES(CASE(work_in_new_program), CASE(fork_before_use), CASE(children_beside_each_other), CASE(grandchildren),
      CASE(fork_after_use), CASE(fork_after_use_and_exit_by_exit), CASE(fork_and_exec_beside_launching_threads),
      CASE(exec_after_use), CASE(spawned_program), CASE(vforked_program), CASE(every_descriptor_closed),
      CASE(own_descriptors_have_the_same_numbers))
