/* No HIP symbol is linked: */
/* Looks functions up in every way and launches through what it finds. The
 * argument is the runtime's path; prints "name launches" per way, and at the
 * end what the plain semantics of dlsym got wrong. */
#define _GNU_SOURCE
#include "hip.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*launch_t)(const void *, dim3, dim3, void **, size_t, stream_t);
typedef int (*lookup_t)(const char *, void **, int, uint64_t, void *);
static const dim3 one = { 1, 1, 1 };

static void way(const char *name, void *function) {
    Dl_info info = { 0 };
    if (!function) { printf("%s missing\n", name); return; }
    ((launch_t)function)(NULL, one, one, NULL, 0, NULL);
    dladdr(function, &info);
    printf("%s %s\n", name, strrchr(info.dli_fname, '/') + 1);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    void *runtime = dlopen(argv[1], RTLD_NOW);
    if (!runtime) { printf("%s\n", dlerror()); return 1; }
    way("dlsym", dlsym(runtime, "hipLaunchKernel"));
    way("dlvsym", dlvsym(runtime, "hipLaunchKernel", "hip_4.2"));
    void *found = NULL;
    lookup_t lookup = dlsym(runtime, "hipGetProcAddress");
    if (lookup && lookup("hipLaunchKernel", &found, 60100, 0, NULL) == 0) way("hipGetProcAddress", found);
    way("default", dlsym(RTLD_DEFAULT, "hipLaunchKernel"));

    /* What others expect of dlsym. */
    dlerror();
    if (dlsym(runtime, "noSuchThing")) printf("bad: found nothing\n");
    const char *why = dlerror();
    if (!why || !strstr(why, "noSuchThing")) printf("bad: dlerror says %s\n", why ? why : "nothing");
    if (dlsym(RTLD_NEXT, "malloc") != dlsym(RTLD_DEFAULT, "malloc")) printf("bad: RTLD_NEXT malloc\n");
    if (dlsym(RTLD_NEXT, "main")) printf("bad: RTLD_NEXT looks in front of the caller\n");
    if (dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.2.5") == dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.3"))
        printf("bad: versions\n");
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (dlsym(libc, "getpid") != (void *)getpid) printf("bad: getpid\n");
    int (*set)(int) = dlsym(runtime, "hipSetDevice");
    if (!set || set(0)) printf("bad: hipSetDevice\n");
    void *uncovered = dlsym(runtime, "hipGetDeviceCount");
    Dl_info info;
    if (!uncovered || !dladdr(uncovered, &info) || !strstr(info.dli_fname, "libamdhip64"))
        printf("bad: hipGetDeviceCount\n");
    int runs = argc > 2 ? atoi(argv[2]) : 0;
    for (int i = 0; i < runs; i++) { /* unload and load again: other addresses */
        dlclose(runtime);
        void *hole = malloc(1 << 22);
        runtime = dlopen(argv[1], RTLD_NOW);
        if (!runtime) { printf("bad: %s\n", dlerror()); return 1; }
        launch_t launch = dlsym(runtime, "hipLaunchKernel");
        volatile uint64_t *launches = dlsym(runtime, "fake_launches");
        uint64_t before = *launches;
        launch(NULL, one, one, NULL, 0, NULL);
        if (*launches != before + 1) printf("bad: launch %d went astray\n", i);
        free(hole);
    }
    printf("done\n");
    return 0;
}
