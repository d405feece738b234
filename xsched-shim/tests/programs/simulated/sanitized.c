/* sanitized WHAT: two threads launch, and the program errs as WHAT says, or not. For the compiler's sanitizers. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hipsim.h"

static hipFunction_t spin;
static int shared;

static void launch(int n) {
    uint64_t ns = 1000;
    void *arguments[] = {&ns};
    for (int i = 0; i < n; i++)
        if (hipModuleLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL)) exit(70);
    if (hipDeviceSynchronize()) exit(71);
}

static void *work(void *racing) {
    launch(20);
    if (racing) shared++;
    return NULL;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "nothing";
    hipModule_t module;
    if (hipModuleLoadData(&module, HIPSIM_MODULE) || hipModuleGetFunction(&spin, module, "hipsim_spin")) return 72;
    void *racing = strcmp(what, "race") ? NULL : &shared;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, racing);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    if (!strcmp(what, "leak")) {
        void *volatile leaked = malloc(77);
        leaked = NULL;
        (void)leaked;
    }
    if (!strcmp(what, "overflow")) {
        char *volatile block = malloc(8);
        block[8] = (char)argc;
        free(block);
    }
    if (!strcmp(what, "undefined")) {
        volatile int most = 0x7fffffff;
        most = most + argc;
    }
    puts("done");
    return 0;
}
