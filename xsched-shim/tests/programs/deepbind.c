/* Reaches the runtime past the linker's rules. Arguments: the runtime, a
 * library (this file with -DSHARED) that launches, and whether to say on
 * standard error when both are opened; prints what failed.
 * Standard input makes it go on. */
#define _GNU_SOURCE
#include "hip.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int (*launch_t)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, stream_t,
                        void **, void **);
typedef int (*sync_t)(void);

#ifdef SHARED
int library_launch(void *f) { return hipModuleLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL); }
int library_sync(void) { return hipDeviceSynchronize(); }
#else
static long ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The runtime's own definition, found as the shim does not let us: by the
 * dynamic linker's data, through a look-up that names no handle of ours. */
static void *straight(void *runtime, const char *name) {
    void *(*plain)(void *, const char *) = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (!plain) plain = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    return plain(runtime, name);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    void *runtime = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND);
    if (!runtime || !library) { printf("%s\n", dlerror()); return 1; }
    if (argc > 3) fputs("opened\n", stderr);
    int (*launch)(void *) = dlsym(library, "library_launch");
    sync_t sync = dlsym(library, "library_sync");
    launch_t direct = straight(runtime, "hipModuleLaunchKernel");
    Dl_info info;
    if (!direct || !dladdr(direct, &info) || !strstr(info.dli_fname, "libamdhip64")) {
        puts("not the runtime's own");
        return 1;
    }
    int (*load)(void **, const void *) = dlsym(runtime, "hipModuleLoadData");
    int (*get)(void **, void *, const char *) = dlsym(runtime, "hipModuleGetFunction");
    void *module = NULL, *k = NULL;
    int failed = load(&module, "hipsim") | get(&k, module, "k");
    for (int i = 0; i < 3; i++) failed |= launch(k) | direct(k, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
    failed |= sync();
    printf("%d\n", failed);
    fflush(stdout);
    getchar();
    long start = ms();
    failed |= launch(k);
    printf("%d %ld\n", failed, ms() - start);
    fflush(stdout);
    getchar();
    start = ms();
    failed |= direct(k, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL) | sync();
    printf("%d %ld\n", failed, ms() - start);
    launch_t own = dlsym(runtime, "hipModuleLaunchKernel");
    failed = own(k, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL) | sync();
    printf("%d\n", failed);
    return 0;
}
#endif
