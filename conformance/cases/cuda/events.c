/* The same cases on the CUDA driver API. */
#include "words.h"

/* HIP's mangled twin of a launch between events; here it is the launch. */
#include "../events.c"

hipError_t mangled_ext_launch(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly,
                                     uint32_t lz, size_t shared, hipStream_t stream, void **params, void **extra,
                                     hipEvent_t start, hipEvent_t stop, uint32_t flags) {
    return hipExtModuleLaunchKernel(f, gx, gy, gz, lx, ly, lz, shared, stream, params, extra, start, stop, flags);
}
