/* The declarations of the HIP runtime that the sample programs use, for building them without ROCm.
 * They are ABI-compatible with hip/hip_runtime_api.h; programs built with them run on the real runtime too. */
#ifndef HIPSIM_H
#define HIPSIM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int hipError_t;
typedef struct ihipStream_t *hipStream_t;
typedef struct ihipEvent_t *hipEvent_t;
typedef struct ihipModule_t *hipModule_t;
typedef struct ihipModuleSymbol_t *hipFunction_t;
typedef struct dim3 {
    uint32_t x, y, z;
} dim3;

enum { hipSuccess = 0, hipErrorNotReady = 600 };
enum { hipEventDisableTiming = 2 };
enum { hipStreamNonBlocking = 1 };
enum { hipMemcpyHostToDevice = 1, hipMemcpyDeviceToHost = 2 };

/* An image whose functions the simulator finds by any name; the real runtime refuses it (see hipsimLoadModule). */
#define HIPSIM_MODULE "hipsim module"

/* What hipcc puts around a fat binary. */
typedef struct hipsimFatBinaryWrapper {
    uint32_t magic, version;
    const void *binary, *unused;
} hipsimFatBinaryWrapper;
#define HIPSIM_FAT_BINARY_MAGIC 0x48495046u

const char *hipGetErrorName(hipError_t error);
hipError_t hipGetLastError(void);
hipError_t hipMalloc(void **pointer, size_t size);
hipError_t hipFree(void *pointer);
hipError_t hipMemcpy(void *to, const void *from, size_t size, int kind);
hipError_t hipMemcpyAsync(void *to, const void *from, size_t size, int kind, hipStream_t stream);
hipError_t hipDeviceSynchronize(void);
hipError_t hipStreamCreate(hipStream_t *stream);
hipError_t hipStreamCreateWithFlags(hipStream_t *stream, unsigned flags);
hipError_t hipStreamSynchronize(hipStream_t stream);
hipError_t hipStreamQuery(hipStream_t stream);
hipError_t hipStreamDestroy(hipStream_t stream);
hipError_t hipStreamWaitEvent(hipStream_t stream, hipEvent_t event, unsigned flags);
hipError_t hipEventCreate(hipEvent_t *event);
hipError_t hipEventCreateWithFlags(hipEvent_t *event, unsigned flags);
hipError_t hipEventRecord(hipEvent_t event, hipStream_t stream);
hipError_t hipEventSynchronize(hipEvent_t event);
hipError_t hipEventQuery(hipEvent_t event);
hipError_t hipEventDestroy(hipEvent_t event);
hipError_t hipEventElapsedTime(float *ms, hipEvent_t start, hipEvent_t stop);
hipError_t hipLaunchHostFunc(hipStream_t stream, void (*function)(void *), void *data);
hipError_t hipModuleLoad(hipModule_t *module, const char *file);
hipError_t hipModuleLoadData(hipModule_t *module, const void *image);
hipError_t hipModuleGetFunction(hipFunction_t *function, hipModule_t module, const char *name);
hipError_t hipModuleLaunchKernel(hipFunction_t function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                                 unsigned blockY, unsigned blockZ, unsigned sharedMemory, hipStream_t stream,
                                 void **parameters, void **extra);
hipError_t hipLaunchKernel(const void *stub, dim3 grid, dim3 block, void **parameters, size_t sharedMemory,
                           hipStream_t stream);
void **__hipRegisterFatBinary(const void *wrapper);
void __hipRegisterFunction(void **module, const void *stub, char *hostName, const char *name, int threadLimit,
                           void *threadId, void *blockId, void *block, void *grid, int *warpSize);

/* Loads the kernels of a sample: of the file that HIPSIM_CODE names, which a real runtime needs, else any by name. */
static inline hipError_t hipsimLoadModule(hipModule_t *module) {
    const char *file = getenv("HIPSIM_CODE");
    return file ? hipModuleLoad(module, file) : hipModuleLoadData(module, HIPSIM_MODULE);
}

#ifdef __cplusplus
}
#endif

#endif
