/* Contexts: current ones, a stack of them, several of one device. */
#include <pthread.h>

#include "words.h"

static void nothing_before_the_start(void) {
    CUstream stream;
    int version = 0;
    SHOW(cuStreamCreate(&stream, 0));
    SHOW(cuCtxSynchronize());
    SHOW(cuDriverGetVersion(&version));
    TRUE(version >= 11000);
    SHOW(cuInit(1));
    SHOW(cuInit(0));
    SHOW(cuCtxSynchronize());
}

static void a_stack_of_contexts(void) {
    CUcontext primary, own, found;
    uint64_t *p = device(8);
    OK(cuCtxGetCurrent(&primary));
    OK(cuCtxCreate_v2(&own, 0, 0));
    OK(cuCtxGetCurrent(&found));
    TRUE(found == own && own != primary);
    for (int i = 0; i < 20; i++) {
        OK(cuCtxPushCurrent_v2(i % 2 ? primary : own));
        count(p, 1, NULL);
        OK(cuCtxPopCurrent_v2(&found));
        TRUE(found == (i % 2 ? primary : own));
    }
    SHOW(cuCtxSynchronize());
    SHOW(cuCtxSynchronize_v2(primary));
    say("counted %lu", (unsigned long)*p);
    SHOW(cuCtxDestroy_v2(own));
    SHOW(cuCtxSetCurrent(own));
    SHOW(cuCtxSetCurrent(primary));
    count(p, 1, NULL);
    SHOW(cuCtxSynchronize());
    TRUE(*p == 21);
}

static void *elsewhere(void *data) {
    CUcontext found = (CUcontext)1;
    OK(cuCtxGetCurrent(&found));
    TRUE(!found);
    SHOW(cuCtxSynchronize());
    OK(cuCtxSetCurrent(data));
    SHOW(cuCtxSynchronize());
    return NULL;
}

static void a_thread_begins_without_one(void) {
    CUcontext current;
    pthread_t thread;
    ready();
    OK(cuCtxGetCurrent(&current));
    TRUE(!pthread_create(&thread, NULL, elsewhere, current));
    pthread_join(thread, NULL);
}

static void streams_know_their_context(void) {
    CUcontext current, found;
    hipStream_t s = stream_of(0);
    OK(cuCtxGetCurrent(&current));
    OK(cuStreamGetCtx(s, &found));
    TRUE(found == current);
    for (int i = 0; i < 50; i++) {
        hipStream_t next = stream_of((unsigned)i % 2);
        uint64_t *p = device(8);
        count(p, 1, next);
        OK(cuDevicePrimaryCtxRetain(&found, 0));
        OK(cuDevicePrimaryCtxRelease_v2(0));
        OK(cuStreamSynchronize(next));
        TRUE(*p == 1);
        OK(cuStreamDestroy_v2(next));
    }
    SHOW(cuCtxSynchronize());
}

/* On a part of the processors, with a stream of its own. */
static void green_contexts(void) {
    static CUdevResource whole, part;
    CUdevResourceDesc description;
    CUgreenCtx green;
    CUcontext context, before;
    CUmodule module;
    CUfunction counter;
    CUstream s;
    unsigned count = 1;
    uint64_t *p = device(8), one_more = 1;
    void *params[] = {&p, &one_more};
    OK(cuCtxGetCurrent(&before));
    OK(cuDeviceGetDevResource(0, &whole, CU_DEV_RESOURCE_TYPE_SM));
    OK(cuDevSmResourceSplitByCount(&part, &count, &whole, NULL, 0, 16));
    OK(cuDevResourceGenerateDesc(&description, &part, 1));
    OK(cuGreenCtxCreate(&green, description, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    OK(cuCtxFromGreenCtx(&context, green));
    OK(cuGreenCtxStreamCreate(&s, green, CU_STREAM_NON_BLOCKING, 0));
    OK(cuCtxSetCurrent(context));
    OK(cuModuleLoadData(&module, KERNELS));
    OK(cuModuleGetFunction(&counter, module, "counter"));
    for (int i = 0; i < 50; i++) OK(cuLaunchKernel(counter, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
    SHOW(cuStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
    OK(cuStreamDestroy_v2(s));
    OK(cuCtxSetCurrent(before));
    OK(cuGreenCtxDestroy(green));
    SHOW(cuCtxSynchronize());
}

CASES(CASE(green_contexts), CASE(nothing_before_the_start), CASE(a_stack_of_contexts), CASE(a_thread_begins_without_one),
      CASE(streams_know_their_context))
