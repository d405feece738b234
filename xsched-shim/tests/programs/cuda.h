/* What the test programs use of CUDA's driver, in the words of hip.h. */
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, stream_t s, void **params, void **extra);
int cuGraphLaunch(void *graph, stream_t s);
int cuMemcpyAsync(uint64_t dst, uint64_t src, size_t n, stream_t s);
int cuMemcpyDtoH_v2(void *dst, uint64_t src, size_t n);
int cuStreamCreate(stream_t *s, unsigned flags);
int cuStreamDestroy_v2(stream_t s);
int cuStreamSynchronize(stream_t s);
int cuStreamBeginCapture_v2(stream_t s, int mode);
int cuStreamEndCapture(stream_t s, void **graph);
int cuCtxSynchronize(void);
int cuCtxSetCurrent(void *context);
int cuEventCreate(event_t *e, unsigned flags);
int cuEventRecord(event_t e, stream_t s);
int cuEventSynchronize(event_t e);
int cuEventQuery(event_t e);

#define hipLaunchKernel(f, grid, block, args, shared, s)                                           \
    cuLaunchKernel((void *)(f), (grid).x, (grid).y, (grid).z, (block).x, (block).y, (block).z, shared, s, args, NULL)
#define hipGraphLaunch cuGraphLaunch
#define hipMemcpyAsync(dst, src, n, kind, s) cuMemcpyAsync((uint64_t)(dst), (uint64_t)(src), n, s)
#define hipMemcpy(dst, src, n, kind) cuMemcpyDtoH_v2(dst, (uint64_t)(src), n)
#define hipStreamCreate(s) cuStreamCreate(s, 0)
#define hipStreamDestroy cuStreamDestroy_v2
#define hipStreamSynchronize cuStreamSynchronize
#define hipStreamBeginCapture cuStreamBeginCapture_v2
#define hipStreamEndCapture cuStreamEndCapture
#define hipDeviceSynchronize cuCtxSynchronize
#define hipSetDevice(device) cuCtxSetCurrent((void *)(uintptr_t)((device) + 1))
#define hipEventCreateWithFlags cuEventCreate
#define hipEventRecord cuEventRecord
#define hipEventSynchronize cuEventSynchronize
#define hipEventQuery cuEventQuery
/* The driver keeps no error for later. */
#define hipGetLastError() 0
#define hipPeekAtLastError() 0
