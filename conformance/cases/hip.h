/* The HIP calls of the cases in C, beyond those that hipsim.h declares, and kernels to launch. */
#ifndef CASES_HIP_H
#define CASES_HIP_H

#include "hipsim.h"
#include "transcript.h"

typedef void *hipGraph_t, *hipGraphExec_t;
typedef void (*hipStreamCallback_t)(hipStream_t stream, hipError_t status, void *data);
typedef struct hipLaunchParams {
    const void *function;
    dim3 grid, block;
    void **arguments;
    size_t sharedMemory;
    hipStream_t stream;
} hipLaunchParams;
typedef struct hipLaunchConfig_t {
    dim3 grid, block;
    size_t sharedMemory;
    hipStream_t stream;
    void *attributes;
    unsigned attributeCount;
} hipLaunchConfig_t;

#define hipStreamLegacy ((hipStream_t)1)
#define hipStreamPerThread ((hipStream_t)2)
enum { hipMemcpyDeviceToDevice = 3, hipMemcpyDefault = 4 };
enum { hipStreamCaptureModeGlobal, hipStreamCaptureModeThreadLocal, hipStreamCaptureModeRelaxed };

hipError_t hipPeekAtLastError(void);
hipError_t hipGetDeviceCount(int *count);
hipError_t hipSetDevice(int device);
hipError_t hipGetDevice(int *device);
hipError_t hipDeviceReset(void);
hipError_t hipMallocAsync(void **pointer, size_t size, hipStream_t stream);
hipError_t hipFreeAsync(void *pointer, hipStream_t stream);
hipError_t hipHostMalloc(void **pointer, size_t size, unsigned flags);
hipError_t hipHostFree(void *pointer);
hipError_t hipMemset(void *to, int value, size_t size);
hipError_t hipMemsetAsync(void *to, int value, size_t size, hipStream_t stream);
hipError_t hipMemsetD16Async(void *to, unsigned short value, size_t count, hipStream_t stream);
hipError_t hipMemsetD32Async(void *to, int value, size_t count, hipStream_t stream);
hipError_t hipMemset2DAsync(void *to, size_t pitch, int value, size_t width, size_t height, hipStream_t stream);
hipError_t hipMemcpy2DAsync(void *to, size_t toPitch, const void *from, size_t fromPitch, size_t width, size_t height,
                            int kind, hipStream_t stream);
hipError_t hipMemcpyDtoH(void *to, void *from, size_t size);
hipError_t hipMemcpyHtoDAsync(void *to, void *from, size_t size, hipStream_t stream);
hipError_t hipMemcpyPeerAsync(void *to, int toDevice, const void *from, int fromDevice, size_t size, hipStream_t stream);
hipError_t hipMemcpyWithStream(void *to, const void *from, size_t size, int kind, hipStream_t stream);
hipError_t hipMemcpy_spt(void *to, const void *from, size_t size, int kind);
hipError_t hipMemcpyAsync_spt(void *to, const void *from, size_t size, int kind, hipStream_t stream);
hipError_t hipMemsetAsync_spt(void *to, int value, size_t size, hipStream_t stream);
hipError_t hipStreamSynchronize_spt(hipStream_t stream);
hipError_t hipLaunchKernel_spt(const void *stub, dim3 grid, dim3 block, void **parameters, size_t sharedMemory,
                               hipStream_t stream);
hipError_t hipStreamCreateWithPriority(hipStream_t *stream, unsigned flags, int priority);
hipError_t hipStreamGetPriority(hipStream_t stream, int *priority);
hipError_t hipDeviceGetStreamPriorityRange(int *least, int *greatest);
hipError_t hipStreamGetFlags(hipStream_t stream, unsigned *flags);
hipError_t hipStreamAddCallback(hipStream_t stream, hipStreamCallback_t callback, void *data, unsigned flags);
hipError_t hipStreamBeginCapture(hipStream_t stream, int mode);
hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t *graph);
hipError_t hipStreamIsCapturing(hipStream_t stream, int *status);
hipError_t hipGraphGetNodes(hipGraph_t graph, void **nodes, size_t *count);
hipError_t hipGraphInstantiate(hipGraphExec_t *exec, hipGraph_t graph, void *node, char *log, size_t size);
hipError_t hipGraphUpload(hipGraphExec_t exec, hipStream_t stream);
hipError_t hipGraphLaunch(hipGraphExec_t exec, hipStream_t stream);
hipError_t hipGraphExecDestroy(hipGraphExec_t exec);
hipError_t hipGraphDestroy(hipGraph_t graph);
hipError_t hipStreamWriteValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags);
hipError_t hipStreamWaitValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags, uint32_t mask);
hipError_t hipExtModuleLaunchKernel(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly,
                                    uint32_t lz, size_t shared, hipStream_t stream, void **params, void **extra,
                                    hipEvent_t start, hipEvent_t stop, uint32_t flags);
hipError_t hipHccModuleLaunchKernel(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly,
                                    uint32_t lz, size_t shared, hipStream_t stream, void **params, void **extra,
                                    hipEvent_t start, hipEvent_t stop);
hipError_t hipExtLaunchKernel(const void *stub, dim3 grid, dim3 block, void **params, size_t shared, hipStream_t stream,
                              hipEvent_t start, hipEvent_t stop, int flags);
hipError_t hipLaunchCooperativeKernel(const void *stub, dim3 grid, dim3 block, void **params, unsigned shared,
                                      hipStream_t stream);
hipError_t hipModuleLaunchCooperativeKernel(hipFunction_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                                            unsigned by, unsigned bz, unsigned shared, hipStream_t stream, void **params);
hipError_t hipLaunchCooperativeKernelMultiDevice(hipLaunchParams *launches, int count, unsigned flags);
hipError_t hipExtLaunchMultiKernelMultiDevice(hipLaunchParams *launches, int count, unsigned flags);
hipError_t hipLaunchKernelExC(const hipLaunchConfig_t *config, const void *stub, void **params);
hipError_t hipDrvLaunchKernelEx(const hipLaunchConfig_t *config, hipFunction_t f, void **params, void **extra);
hipError_t hipConfigureCall(dim3 grid, dim3 block, size_t shared, hipStream_t stream);
hipError_t hipSetupArgument(const void *value, size_t size, size_t offset);
hipError_t hipLaunchByPtr(const void *stub);
hipError_t __hipPushCallConfiguration(dim3 grid, dim3 block, size_t shared, hipStream_t stream);
hipError_t __hipPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, hipStream_t *stream);
hipError_t hipGetProcAddress(const char *name, void **at, int version, uint64_t flags, int *status);
hipError_t hipModuleUnload(hipModule_t module);

static const dim3 one = {1, 1, 1}, block64 = {64, 1, 1};

/* The kernels that the cases launch: real code where HIP_CODE names a file of hipcc's, else any name will do. */
#ifdef HIP_CODE
extern const char hip_code[];
__asm__(".section .rodata\n.p2align 12\n.globl hip_code\nhip_code:\n.incbin \"" HIP_CODE "\"\n.previous");
#define MODULE hip_code
#define FAT_BINARY hip_code
#else
#define MODULE HIPSIM_MODULE
#define FAT_BINARY ""
#endif

/* A kernel of the simulator by its name. */
static hipFunction_t kernel(const char *name) {
    /* A module is of the device that was current when it was loaded. */
    static hipModule_t modules[8];
    hipFunction_t function;
    int device = 0;
    OK(hipGetDevice(&device));
    if (!modules[device]) OK(hipModuleLoadData(&modules[device], MODULE));
    OK(hipModuleGetFunction(&function, modules[device], name));
    return function;
}

/* The same as hipcc's host stub, for the calls that take one. */
static const void *stub(const char *name) {
    static const hipsimFatBinaryWrapper wrapper = {HIPSIM_FAT_BINARY_MAGIC, 1, FAT_BINARY, NULL};
    static char stubs[8];
    static const char *names[8];
    static void **module;
    if (!module) module = __hipRegisterFatBinary(&wrapper);
    for (int i = 0; i < 8; i++) {
        if (names[i] && !strcmp(names[i], name)) return &stubs[i];
        if (names[i]) continue;
        names[i] = name;
        __hipRegisterFunction(module, &stubs[i], (char *)name, name, -1, NULL, NULL, NULL, NULL, NULL);
        return &stubs[i];
    }
    abort();
}

/* A stream can wait for some bits of a value. */
#define MASKS 1

#include "kernels.h"

#endif
