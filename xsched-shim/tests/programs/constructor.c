/* A program whose first launches come from places where other shims hang:
 * a constructor under the loader lock, a thread that this constructor waits
 * for, a handler at exit. */
#include "hip.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const dim3 one = { 1, 1, 1 };

static void *in_thread(void *unused) {
    for (int i = 0; i < 10; i++) hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
    hipDeviceSynchronize();
    return unused;
}

__attribute__((constructor)) static void constructed(void) {
    pthread_t id;
    hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
    pthread_create(&id, NULL, in_thread, NULL);
    pthread_join(id, NULL);
}

/* Without this the file is a library whose constructor runs under the loader
 * lock. */
#ifndef SHARED
#include <dlfcn.h>

static void at_exit(void) {
    for (int i = 0; i < 5; i++) hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
    hipDeviceSynchronize();
    printf("%lu\n", fake_launches);
}

int main(int argc, char **argv) {
    atexit(at_exit);
    if (argc > 1 && !dlopen(argv[1], RTLD_NOW)) { printf("%s\n", dlerror()); return 1; }
    return 0;
}
#endif
