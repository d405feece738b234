/* A library that wants nobody's symbols but its own: the program opens it with RTLD_DEEPBIND, and it opens the
 * runtime and looks everything up by itself. Arguments: the library (this file with -DSHARED) and the runtime.
 * Standard input makes it go on. */
#define _GNU_SOURCE
#include "hip.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef SHARED
static int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, stream_t, void **,
                     void **);
static int (*synchronize)(void);
static void *kernel;

int library_begin(const char *runtime) {
    void *handle = dlopen(runtime, RTLD_NOW), *module = NULL;
    if (!handle) return fputs(dlerror(), stderr), 1;
    int (*load)(void **, const void *) = dlsym(handle, "hipModuleLoadData");
    int (*get)(void **, void *, const char *) = dlsym(handle, "hipModuleGetFunction");
    launch = dlsym(handle, "hipModuleLaunchKernel");
    synchronize = dlsym(handle, "hipDeviceSynchronize");
    if (!load || !get || !launch || !synchronize) return 1;
    return load(&module, "hipsim") | get(&kernel, module, "k");
}

int library_work(int n) {
    int failed = 0;
    for (int i = 0; i < n; i++) failed |= launch(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
    return failed | synchronize();
}
#else
static long ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
    if (!library) return puts(dlerror()), 1;
    int (*begin)(const char *) = dlsym(library, "library_begin");
    int (*work)(int) = dlsym(library, "library_work");
    printf("%d\n", begin(argv[2]) | work(3));
    fflush(stdout);
    getchar();
    long start = ms();
    int failed = work(1);
    printf("%d %ld\n", failed, ms() - start);
    fflush(stdout);
    getchar();
    return 0;
}
#endif
