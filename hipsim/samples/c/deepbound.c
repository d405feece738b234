/* A program whose library's launches go past a preloaded library: it is opened with RTLD_DEEPBIND.
 *
 *   cudasim-deepbound */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "common.h"

int main(void) {
    stop_on_signals();
    void *library = dlopen("libdeepbound.so", RTLD_NOW | RTLD_DEEPBIND);
    int (*launch)(void) = library ? (int (*)(void))dlsym(library, "deepbound_launch") : NULL;
    if (!launch) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    unsigned long kernels = 0;
    double start = seconds();
    while (!stopped) {
        CHECK(launch());
        kernels++;
        sleep_until(start + (double)kernels * 1e-3);
    }
    printf("{\"kernels\": %lu}\n", kernels);
    return 0;
}
