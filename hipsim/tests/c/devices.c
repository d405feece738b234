/* Several devices; the argument says which case. */
#include <stdint.h>

#include "case.h"

hipError_t hipGetDeviceCount(int *count);
hipError_t hipSetDevice(int device);
hipError_t hipGetDevice(int *device);
hipError_t hipDeviceGetPCIBusId(char *id, int size, int device);
hipError_t hipDeviceGetByPCIBusId(int *device, const char *id);
hipError_t hipDeviceCanAccessPeer(int *can, int device, int peer);
hipError_t hipDeviceEnablePeerAccess(int peer, unsigned flags);
hipError_t hipDeviceDisablePeerAccess(int peer);
hipError_t hipMemcpyPeerAsync(void *to, int toDevice, const void *from, int fromDevice, size_t size, hipStream_t stream);
hipError_t hipStreamGetDevice(hipStream_t stream, int *device);
hipError_t hipCtxGetDevice(int *device);
hipError_t hipCtxCreate(void **context, unsigned flags, int device);
hipError_t hipCtxSetCurrent(void *context);
hipError_t hipDevicePrimaryCtxRetain(void **context, int device);

static void two_devices_run_beside_each_other(void) {
    int n, d, can;
    char id[2][32];
    OK(hipGetDeviceCount(&n));
    TRUE(n == 2);
    for (int i = 0; i < 2; i++) OK(hipDeviceGetPCIBusId(id[i], 32, i));
    TRUE(strcmp(id[0], id[1]));
    OK(hipDeviceGetByPCIBusId(&d, id[1]));
    TRUE(d == 1);
    IS(hipSetDevice(2), 101);
    OK(hipDeviceCanAccessPeer(&can, 0, 1));
    TRUE(can == 1);
    OK(hipDeviceEnablePeerAccess(1, 0));
    IS(hipDeviceEnablePeerAccess(1, 0), 704);
    OK(hipDeviceDisablePeerAccess(1));
    IS(hipDeviceDisablePeerAccess(1), 705);
    IS(hipDeviceEnablePeerAccess(0, 0), 101);

    hipStream_t first = stream_of(hipStreamNonBlocking), second;
    OK(hipSetDevice(1));
    second = stream_of(hipStreamNonBlocking);
    OK(hipStreamGetDevice(second, &d));
    TRUE(d == 1);
    hipEvent_t event;
    OK(hipEventCreate(&event));
    IS(hipEventRecord(event, first), 400); /* another device's stream */
    spin(1, first), spin(1, second);
    OK(hipDeviceSynchronize());
    OK(hipStreamSynchronize(first));
    /* Both at full speed. */
    double start = now_ms();
    spin(100, first);
    spin(100, second);
    OK(hipDeviceSynchronize()); /* waits for the second device only */
    OK(hipStreamSynchronize(first));
    double took = now_ms() - start;
    TRUE(took >= 100 && took < 170);
    /* One waits for the other. */
    uint64_t *from = device(8), *to;
    OK(hipSetDevice(0));
    to = device(8);
    spin(30, second);
    count(from, 9, second);
    OK(hipEventRecord(event, second));
    IS(hipEventQuery(event), hipErrorNotReady);
    OK(hipStreamWaitEvent(first, event, 0));
    OK(hipMemcpyPeerAsync(to, 0, from, 1, 8, first));
    OK(hipStreamSynchronize(first));
    TRUE(*to == 9);
    OK(hipEventQuery(event));
    /* Contexts follow. */
    void *context;
    OK(hipDevicePrimaryCtxRetain(&context, 1));
    OK(hipCtxSetCurrent(context));
    OK(hipCtxGetDevice(&d));
    TRUE(d == 1);
    OK(hipGetDevice(&d));
    TRUE(d == 1);
    OK(hipCtxCreate(&context, 0, 0));
    OK(hipGetDevice(&d));
    TRUE(d == 0);
}

/* The machine has three devices; HIP_VISIBLE_DEVICES=2,0. */
static void visible_devices_are_renumbered(void) {
    int n, d;
    char id[32];
    OK(hipGetDeviceCount(&n));
    TRUE(n == 2);
    OK(hipDeviceGetPCIBusId(id, 32, 0));
    TRUE(!strcmp(id, "0000:05:00.0"));
    OK(hipDeviceGetByPCIBusId(&d, "0000:03:00.0"));
    TRUE(d == 1);
    IS(hipDeviceGetByPCIBusId(&d, "0000:04:00.0"), 1);
}

static void no_device_is_visible(void) {
    int n;
    void *p;
    IS(hipGetDeviceCount(&n), 100);
    IS(hipMalloc(&p, 8), 100);
}

static const struct test_case cases[] = {
    CASE(two_devices_run_beside_each_other),
    CASE(visible_devices_are_renumbered),
    CASE(no_device_is_visible),
};

int main(int argc, char **argv) { return run_case(cases, sizeof cases / sizeof *cases, argc, argv); }
