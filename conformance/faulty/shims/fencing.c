/* A shim as they should not be: it puts an event of its own behind each launch and asks about it, whether a stream is
 * being captured or not. The suite must catch it. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "hipsim.h"

static hipError_t (*record)(hipEvent_t, hipStream_t), (*query)(hipEvent_t), (*create)(hipEvent_t *, unsigned);
static __thread hipEvent_t event;

hipError_t hipModuleLaunchKernel(hipFunction_t function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                 unsigned bz, unsigned shared, hipStream_t stream, void **parameters, void **extra) {
    static hipError_t (*real)(hipFunction_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                              hipStream_t, void **, void **);
    if (!real) {
        record = dlsym(RTLD_NEXT, "hipEventRecord");
        query = dlsym(RTLD_NEXT, "hipEventQuery");
        create = dlsym(RTLD_NEXT, "hipEventCreateWithFlags");
        real = dlsym(RTLD_NEXT, "hipModuleLaunchKernel");
    }
    hipError_t result = real(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra);
    if (!event) create(&event, hipEventDisableTiming);
    record(event, stream);
    query(event);
    return result;
}
