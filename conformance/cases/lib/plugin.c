/* A library that uses HIP through its own links, as BLAS libraries and PyTorch extensions do. */
#include "hip.h"

/* Launches on a stream of its own; the work is left pending. What the counter must show in the end. */
uint64_t plugin_launch(uint64_t *p, int launches) {
    hipStream_t s = stream_of(0);
    for (int i = 0; i < launches; i++) count(p, 1, s);
    OK(hipStreamDestroy(s));
    return (uint64_t)launches;
}

/* Where this library's calls go. */
void *plugin_launch_address(void) {
    return (void *)hipModuleLaunchKernel;
}

/* A symbol look-up made from this library. */
void *plugin_lookup(void *handle, const char *name, void *(*lookup)(void *, const char *)) {
    return lookup(handle, name);
}
