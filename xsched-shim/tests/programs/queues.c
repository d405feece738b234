/* Makes hardware queues as AMD's HIP runtime does, and says what priorities they have; what its standard input says, a line
 * at a time. With BY_POINTER it destroys them through a pointer of its own. */
#include "hip.h"
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct queue {
    int priority, sets, destroyed;
    uint32_t size, private_size, group_size;
};

uint32_t hsa_queue_create(uint64_t, uint32_t, uint32_t, void *, void *, uint32_t, uint32_t, struct queue **);
#ifndef BY_POINTER
uint32_t hsa_queue_destroy(struct queue *);
#else
static uint32_t hsa_queue_destroy(struct queue *queue) {
    void *hsa = dlopen("libhsa-runtime64.so.1", RTLD_NOW);
    uint32_t (*destroy)(struct queue *) = (uint32_t (*)(struct queue *))dlsym(hsa, "hsa_queue_destroy");
    return destroy(queue);
}
#endif
uint32_t hsa_amd_queue_set_priority(struct queue *, uint32_t);

static struct queue *queues[8];
static const dim3 one = {1, 1, 1};

static int launch(int n) {
    int error = 0;
    for (int i = 0; i < n; i++) error |= hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
    return error;
}

int main(void) {
    char line[64], word[16];
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        int a = 0, b = 0, error = 0;
        word[0] = 0;
        sscanf(line, "%15s %d %d", word, &a, &b);
        if (!strcmp(word, "create")) {
            error = (int)hsa_queue_create(7, 64, 2, NULL, NULL, 11, 22, &queues[a]);
            if (!error && (queues[a]->size != 64 || queues[a]->private_size != 11 || queues[a]->group_size != 22)) error = -1;
        } else if (!strcmp(word, "refused")) error = hsa_queue_create(8, 64, 2, NULL, NULL, 11, 22, &queues[a]) != 0x1001;
        else if (!strcmp(word, "choose")) error = (int)hsa_amd_queue_set_priority(queues[a], (uint32_t)b);
        else if (!strcmp(word, "destroy")) error = (int)hsa_queue_destroy(queues[a]);
        else if (!strcmp(word, "launch")) error = launch(a);
        else if (!strcmp(word, "fork")) {
            pid_t child = fork();
            if (!child) _exit(launch(a));
            int status;
            if (waitpid(child, &status, 0) != child || status) error = -1;
        } else if (!strcmp(word, "fork-create")) {
            /* The error is the priority of the child's own queue. */
            pid_t child = fork();
            if (!child) _exit(hsa_queue_create(7, 64, 2, NULL, NULL, 11, 22, &queues[a]) ? 99 : queues[a]->priority);
            int status;
            error = waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        } else if (!strcmp(word, "quit")) return 0;
        printf("%d", error);
        for (int i = 0; i < 8; i++)
            if (queues[i]) printf(" %d:%d/%d", i, queues[i]->priority, queues[i]->sets);
        puts("");
    }
    return 0;
}
