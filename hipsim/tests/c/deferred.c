/* A program that a shim which defers launches can run: it keeps its arguments, and waits by stream and event. */
#include "case.h"

hipError_t hipRuntimeGetVersion(int *version);
hipError_t hipCtxSynchronize(void);

enum { STREAMS = 3, LAUNCHES = 100 };
static hipStream_t streams[STREAMS];
static uint64_t *counters[STREAMS], one = 1;
static void *parameters[STREAMS][2];

int main(void) {
    int version;
    hipEvent_t done;
    hipFunction_t counter = kernel("counter");
    OK(hipRuntimeGetVersion(&version));
    for (int s = 0; s < STREAMS; s++) {
        OK(hipStreamCreateWithFlags(&streams[s], s % 2 ? hipStreamNonBlocking : 0));
        OK(hipMalloc((void **)&counters[s], sizeof *counters[s]));
        OK(hipMemset(counters[s], 0, sizeof *counters[s]));
        parameters[s][0] = &counters[s];
        parameters[s][1] = &one;
    }
    for (int i = 0; i < LAUNCHES; i++)
        for (int s = 0; s < STREAMS; s++)
            OK(hipModuleLaunchKernel(counter, 1, 1, 1, 64, 1, 1, 0, streams[s], parameters[s], NULL));
    OK(hipEventCreateWithFlags(&done, hipEventDisableTiming));
    OK(hipEventRecord(done, streams[0]));
    OK(hipEventSynchronize(done));
    for (int s = 0; s < STREAMS; s++) OK(hipStreamSynchronize(streams[s]));
    OK(hipCtxSynchronize());
    for (int s = 0; s < STREAMS; s++) {
        uint64_t counted;
        OK(hipMemcpy(&counted, counters[s], sizeof counted, hipMemcpyDeviceToHost));
        printf("%lu ", (unsigned long)counted);
        OK(hipStreamDestroy(streams[s]));
    }
    printf("HIP %d.%d\n", version / 10000000, version / 100000 % 100);
    return 0;
}
