/* Every way to launch a kernel, and what becomes of its arguments. */
#include "hip.h"

enum { N = 4000 };

static void arguments_reused_at_once_params(void) {
    hipStream_t s = stream_of(0);
    hipFunction_t counter = kernel("counter");
    uint64_t *p = device(16 * 8), *at, add;
    void *params[] = {&at, &add};
    for (uint64_t i = 0; i < 200; i++) {
        at = &p[i % 16], add = i;
        OK(hipModuleLaunchKernel(counter, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
        at = NULL, add = 1u << 30; /* the storage is the caller's again */
    }
    params[0] = params[1] = NULL;
    OK(hipStreamSynchronize(s));
    say("p %lx", checksum(p, 16 * 8));
    TRUE(p[3] == 3 * 13 + 16 * (12 * 13 / 2)); /* 3, 19, 35 ... 195 */
}

static void arguments_reused_at_once_extra(void) {
    hipStream_t s = stream_of(0);
    hipFunction_t counter = kernel("counter");
    uint64_t *p = device(16 * 8);
    struct {
        uint64_t *at, add;
    } packed;
    size_t size = sizeof packed;
    void *extra[] = {(void *)1, &packed, (void *)2, &size, (void *)3};
    for (uint64_t i = 0; i < 200; i++) {
        packed.at = &p[i % 16], packed.add = i;
        OK(hipModuleLaunchKernel(counter, 1, 1, 1, 64, 1, 1, 0, s, NULL, extra));
        memset(&packed, 0xee, sizeof packed);
    }
    OK(hipStreamSynchronize(s));
    say("p %lx", checksum(p, 16 * 8));
    TRUE(p[3] == 3 * 13 + 16 * (12 * 13 / 2));
}

static void known_kernels_compute(void) {
    hipStream_t s = stream_of(0);
    float *a = ramp(N), *b = ramp(N), *c = device(N * 4), *sum = device(4), host[N], expected = 0;
    vector_add(a, b, c, N, s);
    saxpy(-1.5f, a, c, N, s);
    reduce(c, sum, N, s);
    OK(hipMemcpyAsync(host, c, sizeof host, hipMemcpyDeviceToHost, s));
    OK(hipStreamSynchronize(s));
    for (int i = 0; i < N; i++) {
        float x = 0.25f * (float)i + 1.0f / (float)(i + 1);
        volatile float product = -1.5f * x, y = product + (x + x);
        TRUE(host[i] == y);
        expected += y;
    }
    TRUE(*sum == expected);
    say("c %lx sum %a", checksum(host, sizeof host), *sum);
    fill(c, 0xdeadbeef, N - 1, s);
    OK(hipMemcpyAsync(host, c, sizeof host, hipMemcpyDeviceToHost, s));
    OK(hipStreamSynchronize(s));
    say("filled %lx", checksum(host, sizeof host));
}

static void cooperative_launches(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), add = 1;
    void *params[] = {&p, &add};
    dim3 huge = {1u << 20, 1, 1};
    for (int i = 0; i < 20; i++) {
        OK(hipLaunchCooperativeKernel(stub("counter"), one, block64, params, 0, s));
        OK(hipModuleLaunchCooperativeKernel(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, s, params));
    }
    SHOW(hipLaunchCooperativeKernel(stub("counter"), huge, block64, params, 0, s));
    SHOW(hipPeekAtLastError());
    SHOW(hipGetLastError());
    OK(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

static void multi_device_launches(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), add = 2;
    void *params[] = {&p, &add};
    hipLaunchParams launches[] = {{stub("counter"), one, block64, params, 0, s}};
    for (int i = 0; i < 10; i++) {
        OK(hipLaunchCooperativeKernelMultiDevice(launches, 1, 0));
        OK(hipExtLaunchMultiKernelMultiDevice(launches, 1, 0));
    }
    SHOW(hipLaunchCooperativeKernelMultiDevice(NULL, 1, 0));
    SHOW(hipExtLaunchMultiKernelMultiDevice(launches, 0, 0));
    OK(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

/* What hipcc makes of kernel<<<...>>>(...). */
static void chevron(const void *kernel_stub, void **params, hipStream_t stream) {
    dim3 grid, block;
    size_t shared;
    OK(__hipPushCallConfiguration(one, block64, 16, stream));
    OK(__hipPopCallConfiguration(&grid, &block, &shared, &stream));
    TRUE(grid.x == 1 && block.x == 64 && shared == 16);
    OK(hipLaunchKernel(kernel_stub, grid, block, params, shared, stream));
}

static void pushed_configurations(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), add = 1;
    void *params[] = {&p, &add};
    for (int i = 0; i < 50; i++) chevron(stub("counter"), params, i % 2 ? s : NULL);
    OK(hipDeviceSynchronize());
    say("counted %lu", (unsigned long)*p);
    SHOW(__hipPopCallConfiguration((dim3 *)&(dim3){0, 0, 0}, &(dim3){0, 0, 0}, &(size_t){0}, &s));
}

static void launches_by_pointer(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), add = 4;
    for (int i = 0; i < 20; i++) {
        OK(hipConfigureCall(one, block64, 0, s));
        OK(hipSetupArgument(&p, 8, 0));
        OK(hipSetupArgument(&add, 8, 8));
        OK(hipLaunchByPtr(stub("counter")));
    }
    SHOW(hipLaunchByPtr(stub("counter")));
    OK(hipStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
}

CASES(CASE(arguments_reused_at_once_params), CASE(arguments_reused_at_once_extra), CASE(known_kernels_compute),
      CASE(cooperative_launches), CASE(multi_device_launches),
      CASE(pushed_configurations), CASE(launches_by_pointer))
