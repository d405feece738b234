/* A library that uses HIP while it is loaded, under the loader's lock, as Python extensions do at import, and when it is
 * unloaded. */
#include <pthread.h>

#include "hip.h"

static void launch_some(const char *when) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8);
    for (int i = 0; i < 30; i++) count(p, 1, i % 3 ? s : NULL);
    OK(hipDeviceSynchronize());
    say("%s: counted %lu", when, (unsigned long)*p);
    OK(hipStreamDestroy(s));
}

static void *launch_in_thread(void *data) {
    launch_some(data);
    return NULL;
}

__attribute__((constructor)) static void loaded(void) {
    pthread_t thread;
    launch_some("constructor");
    TRUE(!pthread_create(&thread, NULL, launch_in_thread, "constructor's thread"));
    pthread_join(thread, NULL);
}

__attribute__((destructor)) static void unloaded(void) {
    launch_some("destructor");
}
