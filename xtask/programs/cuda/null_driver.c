/* A libcuda.so.1 that does nothing, for what the shim itself costs. */
#include <stdint.h>
#include <string.h>

volatile uint64_t null_launches;

#define NOTHING(name)                                                                              \
    int name(void) { return 0; }
#define LAUNCH(name)                                                                               \
    int name(void) { null_launches++; return 0; }

LAUNCH(cuLaunchKernel)
/* A second name of the same function, which nobody interposes. */
int null_straight_launch(void) __attribute__((alias("cuLaunchKernel")));
LAUNCH(cuLaunchKernel_ptsz)
LAUNCH(cuLaunchKernelEx)
LAUNCH(cuLaunchKernelEx_ptsz)
LAUNCH(cuLaunchCooperativeKernel)
LAUNCH(cuLaunchCooperativeKernel_ptsz)
LAUNCH(cuLaunchCooperativeKernelMultiDevice)
LAUNCH(cuLaunch)
LAUNCH(cuLaunchGrid)
LAUNCH(cuLaunchGridAsync)
LAUNCH(cuGraphLaunch)
LAUNCH(cuGraphLaunch_ptsz)
NOTHING(cuCtxSynchronize)
NOTHING(cuStreamSynchronize)
NOTHING(cuEventDestroy_v2)
NOTHING(cuEventRecord)
NOTHING(cuEventQuery)
NOTHING(cuStreamIsCapturing)

int cuInit(unsigned flags) { return flags != 0; }

int cuCtxGetDevice(int *device) { return *device = 0; }

int cuDeviceGetCount(int *count) {
    *count = 1;
    return 0;
}

int cuDeviceGetPCIBusId(char *text, int length, int device) {
    strncpy(text, "0000:01:00.0", (size_t)length);
    return device;
}

int cuStreamCreate(void **stream, unsigned flags) {
    *stream = (void *)0x5000;
    return (int)(flags >> 31);
}

int cuEventCreate(void **event, unsigned flags) {
    static uint64_t last = 0x7000;
    *event = (void *)(last += 16);
    return (int)(flags >> 31);
}
