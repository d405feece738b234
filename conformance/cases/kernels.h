/* Kernels to launch and things to launch them on, in the words of hip.h. */
#ifndef CASES_KERNELS_H
#define CASES_KERNELS_H

static hipError_t launch(const char *name, hipStream_t stream, void **params) {
    return hipModuleLaunchKernel(kernel(name), 1, 1, 1, 64, 1, 1, 0, stream, params, NULL);
}

/* Device time without a result. */
static void spin(double ms, hipStream_t stream) {
    uint64_t ns = (uint64_t)(ms * 1e6);
    void *params[] = {&ns};
    OK(launch("hipsim_spin", stream, params));
}

/* *counter += add */
static void count(uint64_t *counter, uint64_t add, hipStream_t stream) {
    void *params[] = {&counter, &add};
    OK(launch("counter", stream, params));
}

/* to[0..n] = value */
static void fill(void *to, uint32_t value, size_t n, hipStream_t stream) {
    void *params[] = {&to, &value, &n};
    OK(launch("fill", stream, params));
}

/* c = a + b */
static void vector_add(const float *a, const float *b, float *c, size_t n, hipStream_t stream) {
    void *params[] = {&a, &b, &c, &n};
    OK(launch("vector_add", stream, params));
}

/* y = a x + y; not commutative with fill or another a, so it shows order. */
static void saxpy(float a, const float *x, float *y, size_t n, hipStream_t stream) {
    void *params[] = {&a, &x, &y, &n};
    OK(launch("saxpy", stream, params));
}

/* *out = the sum of in */
static void reduce(const float *in, float *out, size_t n, hipStream_t stream) {
    void *params[] = {&in, &out, &n};
    OK(launch("reduce", stream, params));
}

static hipStream_t stream_of(unsigned flags) {
    hipStream_t stream;
    OK(hipStreamCreateWithFlags(&stream, flags));
    return stream;
}

static hipEvent_t event_of(unsigned flags) {
    hipEvent_t event;
    OK(hipEventCreateWithFlags(&event, flags));
    return event;
}

/* Zeroed device memory. */
static void *device(size_t size) {
    void *p;
    OK(hipMalloc(&p, size));
    OK(hipMemset(p, 0, size));
    /* A memset of device memory may return before it is done, and other streams need not wait for it; a copy is waited for. */
    char first;
    OK(hipMemcpy(&first, p, 1, hipMemcpyDeviceToHost));
    return p;
}

/* Device memory with n floats that differ. */
static float *ramp(size_t n) {
    float *host = (float *)malloc(n * sizeof *host), *p = (float *)device(n * sizeof *p);
    for (size_t i = 0; i < n; i++) host[i] = 0.25f * (float)i + 1.0f / (float)(i + 1);
    OK(hipMemcpy(p, host, n * sizeof *p, hipMemcpyHostToDevice));
    free(host);
    return p;
}

/* What follows on the stream waits until the flag is released. */
static void hold(hipStream_t stream, uint32_t *flag) {
    OK(hipStreamWaitValue32(stream, flag, 1, 1, ~0u));
}

static void release(uint32_t *flag) {
    __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
}

#endif
