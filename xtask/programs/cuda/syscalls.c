/* Launches and synchronises under a filter that ends the program at any system call: proves that the open path makes none. The
 * argument is the number of rounds; between rounds of launches the device is drained and becomes idle. */
#define _GNU_SOURCE
#include "null.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    _exit(100 + info->si_syscall);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    /* Join and let everything be resolved. */
    for (int i = 0; i < 3; i++) {
        launch_with(cuLaunchKernel, NULL);
        cuCtxSynchronize();
    }
    /* An agent wants to hear of a newcomer's first burst; give it the time to see that nobody depends on this one. */
    usleep(200000);
    /* What the agent has said meanwhile, as its list of libraries that pass, is read when the next burst begins; the program's name
     * is asked for anew then, once. */
    launch_with(cuLaunchKernel, NULL);
    cuCtxSynchronize();
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 3;
    int forbidden = argc > 2; /* to show that the filter bites */
    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < 100; k++) launch_with(cuLaunchKernel, NULL);
        cuCtxSynchronize();
    }
    if (forbidden) getppid();
    _exit(null_launches == 4 + 100ul * (unsigned long)rounds ? 0 : 1);
}
