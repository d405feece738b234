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

CASES(CASE(nothing_before_the_start), CASE(a_stack_of_contexts), CASE(a_thread_begins_without_one),
      CASE(streams_know_their_context))
