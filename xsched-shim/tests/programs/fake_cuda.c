/* A fake libcuda.so.1: the same simulated device as fake_hip.c's, behind the driver's interface. */
#include "fake_hip.c"

int cuInit(unsigned flags) { return flags != 0; }

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, stream_t s, void **params, void **extra) {
    return hipModuleLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, s, params, extra);
}
int cuGraphLaunch(void *graph, stream_t s) { return hipGraphLaunch(graph, s); }
int cuMemcpyAsync(uint64_t dst, uint64_t src, size_t n, stream_t s) {
    return hipMemcpyAsync((void *)dst, (void *)src, n, 4, s);
}
int cuMemcpyDtoH_v2(void *dst, uint64_t src, size_t n) { return hipMemcpy(dst, (void *)src, n, 2); }

int cuStreamCreate(stream_t *s, unsigned flags) { return hipStreamCreateWithFlags(s, flags); }
int cuStreamDestroy_v2(stream_t s) { return hipStreamDestroy(s); }
int cuStreamSynchronize(stream_t s) { return hipStreamSynchronize(s); }
int cuStreamQuery(stream_t s) { return hipStreamQuery(s); }
int cuStreamBeginCapture_v2(stream_t s, int mode) { return hipStreamBeginCapture(s, mode); }
int cuStreamEndCapture(stream_t s, void **graph) { return hipStreamEndCapture(s, graph); }
int cuStreamIsCapturing(stream_t s, int *status) { return hipStreamIsCapturing(s, status); }

int cuEventCreate(event_t *e, unsigned flags) { return hipEventCreateWithFlags(e, flags); }
int cuEventDestroy_v2(event_t e) { return hipEventDestroy(e); }
int cuEventRecord(event_t e, stream_t s) { return hipEventRecord(e, s); }
int cuEventQuery(event_t e) { return hipEventQuery(e); }
int cuEventSynchronize(event_t e) { return hipEventSynchronize(e); }

/* A context of a device is its number and one. */
int cuCtxSetCurrent(void *context) { return hipSetDevice((int)(uintptr_t)context - 1); }
int cuCtxGetDevice(int *d) { return hipGetDevice(d); }
int cuCtxSynchronize(void) { return hipDeviceSynchronize(); }
int cuDeviceGetCount(int *n) { return hipGetDeviceCount(n); }
int cuDeviceGetPCIBusId(char *out, int len, int d) { return hipDeviceGetPCIBusId(out, len, d); }
int cuGetProcAddress(const char *name, void **out, int version, uint64_t flags) {
    return hipGetProcAddress(name, out, version, flags, NULL);
}
