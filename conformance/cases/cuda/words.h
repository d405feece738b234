/* The words of hip.h said in CUDA's: the cases that both vendors' interfaces have are written once. Every call makes the process and
 * the thread ready first, as the CUDA runtime does for its users. */
#ifndef CASES_HIP_H
#define CASES_HIP_H
/* In the place of hip.h and of what that includes. */
#define HIPSIM_H

#include "../transcript.h"
#include "cuda.h"
#include "kernels.ptx.h"

typedef CUresult hipError_t;
typedef CUstream hipStream_t;
typedef CUevent hipEvent_t;
typedef CUfunction hipFunction_t;
typedef CUmodule hipModule_t;
typedef CUgraph hipGraph_t;
typedef CUgraphExec hipGraphExec_t;
typedef void *hipMemPool_t;
typedef CUstreamCallback hipStreamCallback_t;
typedef struct dim3 {
    uint32_t x, y, z;
} dim3;

enum { hipSuccess = CUDA_SUCCESS, hipErrorNotReady = CUDA_ERROR_NOT_READY };
enum { hipEventDisableTiming = CU_EVENT_DISABLE_TIMING, hipStreamNonBlocking = CU_STREAM_NON_BLOCKING };
enum { hipMemcpyHostToDevice = 1, hipMemcpyDeviceToHost, hipMemcpyDeviceToDevice, hipMemcpyDefault };
enum { hipStreamCaptureModeGlobal, hipStreamCaptureModeThreadLocal, hipStreamCaptureModeRelaxed };
#define hipStreamLegacy CU_STREAM_LEGACY
#define hipStreamPerThread CU_STREAM_PER_THREAD

#define MODULE KERNELS
/* A stream waits for a value, not for some bits of it. */
#define MASKS 0

static __thread int current_device = -1;

static hipError_t hipSetDevice(int device) {
    CUcontext context;
    CUresult error = cuInit(0);
    if (!error) error = cuDevicePrimaryCtxRetain(&context, device);
    if (!error) error = cuCtxSetCurrent(context);
    if (!error) current_device = device;
    return error;
}

static void ready(void) {
    if (current_device < 0) hipSetDevice(0);
}

static const char *hipGetErrorName(hipError_t error) {
    const char *name = NULL;
    cuGetErrorName(error, &name);
    return name ? name : "(unknown)";
}

/* The driver keeps no error for later. */
static hipError_t hipGetLastError(void) { return hipSuccess; }
static hipError_t hipPeekAtLastError(void) { return hipSuccess; }

#define PASS(declaration, call)                                                                    \
    static hipError_t declaration {                                                                \
        ready();                                                                                   \
        return call;                                                                               \
    }
#define P(pointer) ((CUdeviceptr)(pointer))

PASS(hipGetDeviceCount(int *count), cuDeviceGetCount(count))
PASS(hipDeviceSynchronize(void), cuCtxSynchronize())
/* The cases look into the device's memory, which the host can do only on a simulated device: on a real one they get the host's, where
 * kernels can look. */
static int is_simulated(void) {
    static int known = -1;
    char name[16] = "";
    if (known < 0) known = !cuDeviceGetName(name, sizeof name, 0) && !strcmp(name, "hipsim");
    return known;
}

PASS(hipMalloc(void **pointer, size_t size),
     is_simulated() ? cuMemAlloc_v2((CUdeviceptr *)pointer, size) : cuMemHostAlloc(pointer, size, 0))
PASS(hipFree(void *pointer), is_simulated() ? cuMemFree_v2(P(pointer)) : cuMemFreeHost(pointer))
PASS(hipHostMalloc(void **pointer, size_t size, unsigned flags), cuMemHostAlloc(pointer, size, flags))
PASS(hipHostFree(void *pointer), cuMemFreeHost(pointer))
PASS(hipMallocManaged(void **pointer, size_t size, unsigned flags), cuMemAllocManaged((CUdeviceptr *)pointer, size, flags))
PASS(hipMallocAsync(void **pointer, size_t size, hipStream_t stream), cuMemAllocAsync((CUdeviceptr *)pointer, size, stream))
PASS(hipMallocFromPoolAsync(void **pointer, size_t size, hipMemPool_t pool, hipStream_t stream),
     cuMemAllocFromPoolAsync((CUdeviceptr *)pointer, size, (CUmemoryPool)pool, stream))
PASS(hipDeviceGetDefaultMemPool(hipMemPool_t *pool, int device), cuDeviceGetDefaultMemPool((CUmemoryPool *)pool, device))
PASS(hipFreeAsync(void *pointer, hipStream_t stream), cuMemFreeAsync(P(pointer), stream))
PASS(hipMemcpyDtoH(void *to, void *from, size_t size), cuMemcpyDtoH_v2(to, P(from), size))
PASS(hipMemcpyHtoDAsync(void *to, void *from, size_t size, hipStream_t stream), cuMemcpyHtoDAsync_v2(P(to), from, size, stream))
PASS(hipMemset(void *to, int value, size_t size), cuMemsetD8_v2(P(to), (unsigned char)value, size))
PASS(hipMemsetAsync(void *to, int value, size_t size, hipStream_t stream),
     cuMemsetD8Async(P(to), (unsigned char)value, size, stream))
PASS(hipMemsetAsync_spt(void *to, int value, size_t size, hipStream_t stream),
     cuMemsetD8Async_ptsz(P(to), (unsigned char)value, size, stream))
PASS(hipMemsetD16Async(void *to, unsigned short value, size_t count, hipStream_t stream),
     cuMemsetD16Async(P(to), value, count, stream))
PASS(hipMemsetD32Async(void *to, int value, size_t count, hipStream_t stream),
     cuMemsetD32Async(P(to), (unsigned)value, count, stream))
PASS(hipMemset2DAsync(void *to, size_t pitch, int value, size_t width, size_t height, hipStream_t stream),
     cuMemsetD2D8Async(P(to), pitch, (unsigned char)value, width, height, stream))
PASS(hipMemcpy_spt(void *to, const void *from, size_t size, int kind), ((void)kind, cuMemcpy_ptds(P(to), P(from), size)))
PASS(hipMemcpyAsync_spt(void *to, const void *from, size_t size, int kind, hipStream_t stream),
     ((void)kind, cuMemcpyAsync_ptsz(P(to), P(from), size, stream)))
PASS(hipStreamCreate(hipStream_t *stream), cuStreamCreate(stream, CU_STREAM_DEFAULT))
PASS(hipStreamCreateWithFlags(hipStream_t *stream, unsigned flags), cuStreamCreate(stream, flags))
PASS(hipStreamCreateWithPriority(hipStream_t *stream, unsigned flags, int priority),
     cuStreamCreateWithPriority(stream, flags, priority))
PASS(hipStreamGetPriority(hipStream_t stream, int *priority), cuStreamGetPriority(stream, priority))
PASS(hipDeviceGetStreamPriorityRange(int *least, int *greatest), cuCtxGetStreamPriorityRange(least, greatest))
PASS(hipStreamGetFlags(hipStream_t stream, unsigned *flags), cuStreamGetFlags(stream, flags))
PASS(hipStreamDestroy(hipStream_t stream), cuStreamDestroy_v2(stream))
PASS(hipStreamSynchronize(hipStream_t stream), cuStreamSynchronize(stream))
PASS(hipStreamSynchronize_spt(hipStream_t stream), cuStreamSynchronize_ptsz(stream))
PASS(hipStreamQuery(hipStream_t stream), cuStreamQuery(stream))
PASS(hipStreamWaitEvent(hipStream_t stream, hipEvent_t event, unsigned flags), cuStreamWaitEvent(stream, event, flags))
PASS(hipStreamAddCallback(hipStream_t stream, hipStreamCallback_t callback, void *data, unsigned flags),
     cuStreamAddCallback(stream, callback, data, flags))
PASS(hipLaunchHostFunc(hipStream_t stream, void (*function)(void *), void *data), cuLaunchHostFunc(stream, function, data))
PASS(hipStreamWriteValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags),
     cuStreamWriteValue32_v2(stream, P(at), value, flags))
PASS(hipStreamWriteValue64(hipStream_t stream, void *at, uint64_t value, unsigned flags),
     cuStreamWriteValue64_v2(stream, P(at), value, flags))
/* The driver's have no mask. */
PASS(hipStreamWaitValue32(hipStream_t stream, void *at, uint32_t value, unsigned flags, uint32_t mask),
     ((void)mask, cuStreamWaitValue32_v2(stream, P(at), value, flags)))
PASS(hipStreamWaitValue64(hipStream_t stream, void *at, uint64_t value, unsigned flags, uint64_t mask),
     ((void)mask, cuStreamWaitValue64_v2(stream, P(at), value, flags)))
PASS(hipEventCreate(hipEvent_t *event), cuEventCreate(event, CU_EVENT_DEFAULT))
PASS(hipEventCreateWithFlags(hipEvent_t *event, unsigned flags), cuEventCreate(event, flags))
PASS(hipEventDestroy(hipEvent_t event), cuEventDestroy_v2(event))
PASS(hipEventRecord(hipEvent_t event, hipStream_t stream), cuEventRecord(event, stream))
PASS(hipEventQuery(hipEvent_t event), cuEventQuery(event))
PASS(hipEventSynchronize(hipEvent_t event), cuEventSynchronize(event))
PASS(hipEventElapsedTime(float *ms, hipEvent_t start, hipEvent_t end), cuEventElapsedTime(ms, start, end))
PASS(hipStreamBeginCapture(hipStream_t stream, int mode), cuStreamBeginCapture_v2(stream, mode))
PASS(hipStreamEndCapture(hipStream_t stream, hipGraph_t *graph), cuStreamEndCapture(stream, graph))
PASS(hipStreamIsCapturing(hipStream_t stream, int *status), cuStreamIsCapturing(stream, status))
PASS(hipGraphCreate(hipGraph_t *graph, unsigned flags), cuGraphCreate(graph, flags))
PASS(hipGraphGetNodes(hipGraph_t graph, void **nodes, size_t *count), cuGraphGetNodes(graph, (CUgraphNode *)nodes, count))
PASS(hipGraphInstantiate(hipGraphExec_t *exec, hipGraph_t graph, void *node, char *log, size_t size),
     ((void)node, (void)log, (void)size, cuGraphInstantiateWithFlags(exec, graph, 0)))
PASS(hipGraphAddChildGraphNode(void **node, hipGraph_t graph, void *const *after, size_t count, hipGraph_t child),
     cuGraphAddChildGraphNode((CUgraphNode *)node, graph, (CUgraphNode const *)after, count, child))
PASS(hipGraphUpload(hipGraphExec_t exec, hipStream_t stream), cuGraphUpload(exec, stream))
PASS(hipGraphLaunch(hipGraphExec_t exec, hipStream_t stream), cuGraphLaunch(exec, stream))
PASS(hipGraphExecDestroy(hipGraphExec_t exec), cuGraphExecDestroy(exec))
PASS(hipGraphDestroy(hipGraph_t graph), cuGraphDestroy(graph))
PASS(hipModuleLoadData(hipModule_t *module, const void *image), cuModuleLoadData(module, image))

static hipError_t hipsimLoadModule(hipModule_t *module) { return hipModuleLoadData(module, MODULE); }
PASS(hipModuleUnload(hipModule_t module), cuModuleUnload(module))
PASS(hipModuleGetFunction(hipFunction_t *function, hipModule_t module, const char *name),
     cuModuleGetFunction(function, module, name))
PASS(hipModuleLaunchKernel(hipFunction_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                           unsigned shared, hipStream_t stream, void **params, void **extra),
     cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra))

/* The runtime of CUDA takes the form of a copy from its direction. */
static hipError_t hipMemcpy(void *to, const void *from, size_t size, int kind) {
    ready();
    switch (kind) {
    case hipMemcpyHostToDevice: return cuMemcpyHtoD_v2(P(to), from, size);
    case hipMemcpyDeviceToHost: return cuMemcpyDtoH_v2(to, P(from), size);
    default: return cuMemcpy(P(to), P(from), size);
    }
}

static hipError_t hipMemcpyAsync(void *to, const void *from, size_t size, int kind, hipStream_t stream) {
    ready();
    if (kind == hipMemcpyHostToDevice) return cuMemcpyHtoDAsync_v2(P(to), from, size, stream);
    return cuMemcpyAsync(P(to), P(from), size, stream);
}

static hipError_t hipMemcpyWithStream(void *to, const void *from, size_t size, int kind, hipStream_t stream) {
    hipError_t error = hipMemcpyAsync(to, from, size, kind, stream);
    return error ? error : hipStreamSynchronize(stream);
}

static hipError_t hipMemcpy2DAsync(void *to, size_t toPitch, const void *from, size_t fromPitch, size_t width, size_t height,
                                   int kind, hipStream_t stream) {
    ready();
    (void)kind;
    CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_UNIFIED, .srcDevice = P(from), .srcPitch = fromPitch,
                          .dstMemoryType = CU_MEMORYTYPE_UNIFIED, .dstDevice = P(to), .dstPitch = toPitch,
                          .WidthInBytes = width, .Height = height};
    return cuMemcpy2DAsync_v2(&copy, stream);
}

static hipError_t hipMemcpyPeerAsync(void *to, int toDevice, const void *from, int fromDevice, size_t size, hipStream_t stream) {
    CUcontext there, here;
    ready();
    CUresult error = cuDevicePrimaryCtxRetain(&there, toDevice);
    if (!error) error = cuDevicePrimaryCtxRetain(&here, fromDevice);
    return error ? error : cuMemcpyPeerAsync(P(to), there, P(from), here, size, stream);
}

static hipError_t hipDeviceReset(void) {
    ready();
    int device = current_device;
    CUresult error = cuCtxSynchronize();
    if (!error) error = cuDevicePrimaryCtxReset_v2(device);
    return error ? error : hipSetDevice(device);
}

static const dim3 one = {1, 1, 1}, block64 = {64, 1, 1};

/* A kernel of the simulator by its name. */
static hipFunction_t kernel(const char *name) {
    static hipModule_t module;
    hipFunction_t function;
    if (!module) OK(hipModuleLoadData(&module, MODULE));
    OK(hipModuleGetFunction(&function, module, name));
    return function;
}

/* There are no stubs below the runtime library. */
static const void *stub(const char *name) {
    return kernel(name);
}

PASS(hipLaunchKernel(const void *f, dim3 grid, dim3 block, void **params, size_t shared, hipStream_t stream),
     cuLaunchKernel((CUfunction)f, grid.x, grid.y, grid.z, block.x, block.y, block.z, (unsigned)shared, stream, params, NULL))
PASS(hipLaunchKernel_spt(const void *f, dim3 grid, dim3 block, void **params, size_t shared, hipStream_t stream),
     cuLaunchKernel_ptsz((CUfunction)f, grid.x, grid.y, grid.z, block.x, block.y, block.z, (unsigned)shared, stream, params, NULL))

/* A launch between two events. */
static hipError_t between(hipFunction_t f, const unsigned *shape, size_t shared, hipStream_t stream, void **params, void **extra,
                          hipEvent_t start, hipEvent_t stop) {
    hipError_t error = start ? hipEventRecord(start, stream) : hipSuccess;
    if (!error)
        error = hipModuleLaunchKernel(f, shape[0] / shape[3], shape[1] / shape[4], shape[2] / shape[5], shape[3], shape[4],
                                      shape[5], (unsigned)shared, stream, params, extra);
    return error || !stop ? error : hipEventRecord(stop, stream);
}

static hipError_t hipExtModuleLaunchKernel(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly,
                                           uint32_t lz, size_t shared, hipStream_t stream, void **params, void **extra,
                                           hipEvent_t start, hipEvent_t stop, uint32_t flags) {
    (void)flags;
    return between(f, (unsigned[]){gx, gy, gz, lx, ly, lz}, shared, stream, params, extra, start, stop);
}

static hipError_t hipHccModuleLaunchKernel(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t lx, uint32_t ly,
                                           uint32_t lz, size_t shared, hipStream_t stream, void **params, void **extra,
                                           hipEvent_t start, hipEvent_t stop) {
    return between(f, (unsigned[]){gx, gy, gz, lx, ly, lz}, shared, stream, params, extra, start, stop);
}

static hipError_t hipExtLaunchKernel(const void *f, dim3 grid, dim3 block, void **params, size_t shared, hipStream_t stream,
                                     hipEvent_t start, hipEvent_t stop, int flags) {
    (void)flags;
    unsigned shape[] = {grid.x * block.x, grid.y * block.y, grid.z * block.z, block.x, block.y, block.z};
    return between((hipFunction_t)f, shape, shared, stream, params, NULL, start, stop);
}

#include "../kernels.h"

#endif
