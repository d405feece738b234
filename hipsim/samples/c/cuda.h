/* The words of hipsim.h that the samples use, said in those of CUDA's driver. The kernels are PTX, which a real driver compiles and the
 * simulated one knows by name. */
#ifndef SAMPLES_CUDA_H
#define SAMPLES_CUDA_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.ptx.h"

typedef int hipError_t;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *hipModule_t;
typedef struct CUfunc_st *hipFunction_t;
typedef struct CUstream_st *hipStream_t;
typedef struct CUevent_st *hipEvent_t;
enum { hipSuccess = 0, hipEventDisableTiming = 2 };

hipError_t cuInit(unsigned flags);
hipError_t cuGetErrorName(hipError_t error, const char **name);
hipError_t cuDevicePrimaryCtxRetain(CUcontext *context, int device);
hipError_t cuCtxSetCurrent(CUcontext context);
hipError_t cuCtxSynchronize(void);
hipError_t cuModuleLoadData(hipModule_t *module, const void *image);
hipError_t cuModuleGetFunction(hipFunction_t *function, hipModule_t module, const char *name);
hipError_t cuStreamCreate(hipStream_t *stream, unsigned flags);
hipError_t cuStreamSynchronize(hipStream_t stream);
hipError_t cuEventCreate(hipEvent_t *event, unsigned flags);
hipError_t cuEventRecord(hipEvent_t event, hipStream_t stream);
hipError_t cuEventSynchronize(hipEvent_t event);
hipError_t cuLaunchKernel(hipFunction_t function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared, hipStream_t stream, void **parameters, void **extra);

#define hipModuleGetFunction cuModuleGetFunction
#define hipStreamCreate(stream) cuStreamCreate(stream, 0)
#define hipStreamSynchronize cuStreamSynchronize
#define hipEventCreateWithFlags cuEventCreate
#define hipEventRecord cuEventRecord
#define hipEventSynchronize cuEventSynchronize
#define hipModuleLaunchKernel cuLaunchKernel
#define hipDeviceSynchronize cuCtxSynchronize

static const char *hipGetErrorName(hipError_t error) {
    const char *name = NULL;
    cuGetErrorName(error, &name);
    return name ? name : "(unknown)";
}

/* The first call of every sample. */
static hipError_t hipsimLoadModule(hipModule_t *module) {
    CUcontext context;
    hipError_t error = cuInit(0);
    if (!error) error = cuDevicePrimaryCtxRetain(&context, 0);
    if (!error) error = cuCtxSetCurrent(context);
    return error ? error : cuModuleLoadData(module, KERNELS);
}

#endif
