/* A shim as they should not be, built like XSched's (XpuOS/xsched, platforms/hip, seen 2025): a queue and a worker thread
 * for each stream that the program creates, launches executed there later with the caller's own argument storage, events
 * of its own behind every eighth command, a context set on the worker, and the real library opened by the path in
 * DEFERRING_HIP_LIBRARY. What it does not intercept goes past its queues. Programs that wait by the calls it knows run on
 * it; the suite must catch it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hipsim.h"

typedef void *hipCtx_t;
enum { ROOM = 4096, BATCH = 8, THRESHOLD = 16, STREAMS = 256, BLOCKING_SYNC = 1 };

struct launch {
    hipFunction_t function;
    const void *stub;
    unsigned grid[3], block[3], shared;
    void **parameters, **extra;
    hipEvent_t record;
};

struct queue {
    hipStream_t stream;
    hipCtx_t context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct launch launches[ROOM];
    unsigned long head, tail; /* handed over, and executed */
};

static struct queue *queues[STREAMS];
static pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;

static void *library(void) {
    static void *handle;
    const char *path = getenv("DEFERRING_HIP_LIBRARY");
    if (!handle) handle = dlopen(path ? path : "libamdhip64.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!handle) fprintf(stderr, "deferring: %s\n", dlerror()), exit(1);
    return handle;
}

static void *find(const char *name) {
    void *function = dlsym(library(), name);
    if (!function) fprintf(stderr, "deferring: no %s\n", name), exit(1);
    return function;
}
#define REAL(name, ...) ((hipError_t (*)(__VA_ARGS__))find(#name))

static void must(hipError_t error, const char *what) {
    if (error) fprintf(stderr, "deferring: %s: error %d\n", what, error), exit(1);
}

static void execute(struct queue *q, struct launch *l) {
    if (l->record) {
        must(REAL(hipEventRecord, hipEvent_t, hipStream_t)(l->record, q->stream), "hipEventRecord");
    } else if (l->stub) {
        dim3 grid = {l->grid[0], l->grid[1], l->grid[2]}, block = {l->block[0], l->block[1], l->block[2]};
        must(REAL(hipLaunchKernel, const void *, dim3, dim3, void **, size_t, hipStream_t)(
                 l->stub, grid, block, l->parameters, l->shared, q->stream), "hipLaunchKernel");
    } else {
        must(REAL(hipModuleLaunchKernel, hipFunction_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                  hipStream_t, void **, void **)(l->function, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
                                                 l->block[2], l->shared, q->stream, l->parameters, l->extra),
             "hipModuleLaunchKernel");
    }
}

static void *work(void *data) {
    struct queue *q = data;
    hipEvent_t events[THRESHOLD / BATCH];
    unsigned long batches = 0, n = 0;
    if (q->context) must(REAL(hipCtxSetCurrent, hipCtx_t)(q->context), "hipCtxSetCurrent");
    for (int i = 0; i < THRESHOLD / BATCH; i++)
        must(REAL(hipEventCreateWithFlags, hipEvent_t *, unsigned)(&events[i], hipEventDisableTiming | BLOCKING_SYNC),
             "hipEventCreateWithFlags");
    for (;;) {
        pthread_mutex_lock(&q->lock);
        while (q->tail == q->head) pthread_cond_wait(&q->changed, &q->lock);
        struct launch *next = &q->launches[q->tail % ROOM];
        pthread_mutex_unlock(&q->lock);
        execute(q, next);
        if (++n % BATCH == 0) {
            hipEvent_t *mine = &events[batches++ % (THRESHOLD / BATCH)];
            if (batches > THRESHOLD / BATCH) must(REAL(hipEventSynchronize, hipEvent_t)(*mine), "hipEventSynchronize");
            must(REAL(hipEventRecord, hipEvent_t, hipStream_t)(*mine, q->stream), "hipEventRecord");
        }
        pthread_mutex_lock(&q->lock);
        q->tail++;
        pthread_cond_broadcast(&q->changed);
        pthread_mutex_unlock(&q->lock);
    }
    return NULL;
}

/* What it asks the runtime when a stream is created. */
static void begin(hipStream_t stream) {
    struct queue *q = calloc(1, sizeof *q);
    char properties[8192]; /* R0600 is the larger one */
    unsigned flags;
    int device = 0;
    pthread_t thread;
    q->stream = stream;
    if (REAL(hipCtxGetCurrent, hipCtx_t *)(&q->context)) q->context = NULL;
    if (REAL(hipStreamGetDevice, hipStream_t, int *)(stream, &device)) must(REAL(hipGetDevice, int *)(&device), "hipGetDevice");
    must(REAL(hipGetDevicePropertiesR0600, void *, int)(properties, device), "hipGetDevicePropertiesR0600");
    must(REAL(hipStreamGetFlags, hipStream_t, unsigned *)(stream, &flags), "hipStreamGetFlags");
    must(REAL(hipStreamSynchronize, hipStream_t)(stream), "hipStreamSynchronize");
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    pthread_create(&thread, NULL, work, q);
    pthread_mutex_lock(&all);
    for (int i = 0; i < STREAMS; i++)
        if (!queues[i]) { queues[i] = q; break; }
    pthread_mutex_unlock(&all);
}

static struct queue *of(hipStream_t stream) {
    for (int i = 0; stream && i < STREAMS; i++)
        if (queues[i] && queues[i]->stream == stream) return queues[i];
    return NULL;
}

static void drain(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    while (q->tail != q->head) pthread_cond_wait(&q->changed, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

static void drain_all(void) {
    for (int i = 0; i < STREAMS; i++)
        if (queues[i]) drain(queues[i]);
}

static hipError_t defer(struct queue *q, struct launch launch) {
    pthread_mutex_lock(&q->lock);
    while (q->head - q->tail == ROOM) pthread_cond_wait(&q->changed, &q->lock);
    q->launches[q->head++ % ROOM] = launch;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    return hipSuccess;
}

hipError_t hipStreamCreate(hipStream_t *stream) {
    hipError_t error = REAL(hipStreamCreate, hipStream_t *)(stream);
    if (!error) begin(*stream);
    return error;
}

hipError_t hipStreamCreateWithFlags(hipStream_t *stream, unsigned flags) {
    hipError_t error = REAL(hipStreamCreateWithFlags, hipStream_t *, unsigned)(stream, flags);
    if (!error) begin(*stream);
    return error;
}

hipError_t hipStreamDestroy(hipStream_t stream) {
    struct queue *q = of(stream);
    if (q) drain(q), q->stream = NULL;
    return REAL(hipStreamDestroy, hipStream_t)(stream);
}

hipError_t hipStreamSynchronize(hipStream_t stream) {
    struct queue *q = of(stream);
    if (q) drain(q);
    return REAL(hipStreamSynchronize, hipStream_t)(stream);
}

hipError_t hipStreamQuery(hipStream_t stream) {
    struct queue *q = of(stream);
    if (q && q->tail != q->head) return hipErrorNotReady;
    return REAL(hipStreamQuery, hipStream_t)(stream);
}

hipError_t hipCtxSynchronize(void) {
    drain_all();
    return REAL(hipCtxSynchronize, void)();
}

hipError_t hipMalloc(void **pointer, size_t size) {
    drain_all();
    return REAL(hipMalloc, void **, size_t)(pointer, size);
}

hipError_t hipFree(void *pointer) {
    drain_all();
    return REAL(hipFree, void *)(pointer);
}

hipError_t hipMemcpyAsync(void *to, const void *from, size_t size, int kind, hipStream_t stream) {
    hipStreamSynchronize(stream);
    return REAL(hipMemcpyAsync, void *, const void *, size_t, int, hipStream_t)(to, from, size, kind, stream);
}

hipError_t hipEventRecord(hipEvent_t event, hipStream_t stream) {
    struct queue *q = of(stream);
    if (q) return defer(q, (struct launch){.record = event});
    return REAL(hipEventRecord, hipEvent_t, hipStream_t)(event, stream);
}

hipError_t hipEventSynchronize(hipEvent_t event) {
    drain_all();
    return REAL(hipEventSynchronize, hipEvent_t)(event);
}

hipError_t hipModuleLaunchKernel(hipFunction_t function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                 unsigned bz, unsigned shared, hipStream_t stream, void **parameters, void **extra) {
    struct queue *q = of(stream);
    if (q) return defer(q, (struct launch){function, NULL, {gx, gy, gz}, {bx, by, bz}, shared, parameters, extra, NULL});
    return REAL(hipModuleLaunchKernel, hipFunction_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                hipStream_t, void **, void **)(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra);
}

hipError_t hipLaunchKernel(const void *stub, dim3 grid, dim3 block, void **parameters, size_t shared, hipStream_t stream) {
    struct queue *q = of(stream);
    if (q)
        return defer(q, (struct launch){NULL, stub, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, (unsigned)shared,
                                        parameters, NULL, NULL});
    return REAL(hipLaunchKernel, const void *, dim3, dim3, void **, size_t, hipStream_t)(stub, grid, block, parameters, shared,
                                                                                       stream);
}
