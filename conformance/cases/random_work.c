/* Random work with one right result. A case is a seed, the operations and the threads: random_17x200x1.
 *
 * Each thread has buffers and streams of its own. An operation picks a stream and up to three buffers; it waits for the
 * events of its buffers, works on them, and records their events again. So the order of all work on a buffer is that of the
 * program whatever the streams do, and what is read back depends on the seed alone. */
#include <pthread.h>

#include "hip.h"

typedef void *hipMemPool_t;
hipError_t hipMallocManaged(void **pointer, size_t size, unsigned flags);
hipError_t hipGraphCreate(hipGraph_t *graph, unsigned flags);
hipError_t hipGraphAddChildGraphNode(void **node, hipGraph_t graph, void *const *after, size_t count, hipGraph_t child);
hipError_t hipDeviceGetDefaultMemPool(hipMemPool_t *pool, int device);
hipError_t hipMallocFromPoolAsync(void **pointer, size_t size, hipMemPool_t pool, hipStream_t stream);
hipError_t hipStreamWriteValue64(hipStream_t stream, void *at, uint64_t value, unsigned flags);

enum { Streams = 6, Buffers = 6, Graphs = 2, Words = 16384, MaxThreads = 8, Report = 50 };

typedef struct worker {
    uint64_t random;
    int operations, index;
    hipStream_t streams[Streams]; /* the first two do not block */
    uint32_t *buffers[Buffers];
    hipEvent_t touched[Buffers];
    uint32_t *host;
    hipGraphExec_t graphs[Graphs];
    hipMemPool_t pool;
    hipStream_t aside;   /* what callbacks launch */
    uint64_t *counted;   /* by callbacks' launches: the order does not matter */
    uint64_t callbacks;
    uint64_t *flag;      /* written by one stream, waited for by another */
    uint64_t flags;
    hipEvent_t flagged;  /* the flag only grows */
    unsigned long sum;
    pthread_t thread;
} worker;

static int threads;
static hipFunction_t filling, counting, adding; /* found before threads start */

static unsigned pick(worker *w, unsigned below) {
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return (unsigned)(w->random >> 20) % below;
}

static void put(uint32_t *to, uint32_t value, size_t n, hipStream_t s) {
    void *params[] = {&to, &value, &n};
    OK(hipModuleLaunchKernel(filling, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
}

static void bump(uint64_t *at, uint64_t by, hipStream_t s) {
    void *params[] = {&at, &by};
    OK(hipModuleLaunchKernel(counting, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
}

static void sum(void *a, void *b, void *c, size_t n, hipStream_t s) {
    void *params[] = {&a, &b, &c, &n};
    OK(hipModuleLaunchKernel(adding, 4, 1, 1, 256, 1, 1, 0, s, params, NULL));
}

/* What host functions do: order between two of them shows. */
static void scramble(void *data) {
    uint32_t *words = data;
    for (int i = 0; i < 64; i++) words[i] = words[i] * 1664525u + 1013904223u;
}

static void scramble_back(hipStream_t s, hipError_t error, void *data) {
    (void)s;
    if (!error) scramble(data);
}

static void launch_aside(hipStream_t s, hipError_t error, void *data) {
    worker *w = data;
    (void)s;
    if (!error) bump(w->counted, 1, w->aside);
}

/* The arguments of an operation: a stream, three buffers that may be the same, a number of words. */
typedef struct site {
    hipStream_t s;
    int a, b, c;
    size_t n;
} site;

static void op_fill(worker *w, site at) {
    put(w->buffers[at.a], pick(w, 1000), at.n, at.s);
}

static void op_count(worker *w, site at) {
    bump((uint64_t *)w->buffers[at.a] + pick(w, 40), pick(w, 1000), at.s);
}

static void op_add(worker *w, site at) {
    if (at.a == at.c || at.b == at.c) return op_count(w, at);
    sum(w->buffers[at.a], w->buffers[at.b], w->buffers[at.c], at.n, at.s);
}

static void op_copy(worker *w, site at) {
    if (at.a == at.b) return;
    OK(hipMemcpyAsync(w->buffers[at.a], w->buffers[at.b], at.n * 4, hipMemcpyDeviceToDevice, at.s));
}

static void op_copy_rows(worker *w, site at) {
    if (at.a == at.b) return;
    OK(hipMemcpy2DAsync(w->buffers[at.a], 256, w->buffers[at.b], 512, 200, at.n / 128, hipMemcpyDefault, at.s));
}

static void op_through_host(worker *w, site at) {
    OK(hipMemcpyAsync(w->host, w->buffers[at.a], at.n * 4, hipMemcpyDeviceToHost, at.s));
    OK(hipMemcpyAsync(w->buffers[at.b], w->host, at.n * 4, hipMemcpyHostToDevice, at.s));
    OK(hipStreamSynchronize(at.s));
}

static void op_set(worker *w, site at) {
    if (pick(w, 2)) OK(hipMemsetAsync(w->buffers[at.a], (int)pick(w, 256), at.n * 4, at.s));
    else OK(hipMemsetD32Async(w->buffers[at.a], (int)pick(w, 1 << 20), at.n, at.s));
}

static void op_host_function(worker *w, site at) {
    OK(hipLaunchHostFunc(at.s, scramble, w->buffers[at.a]));
}

static void op_callback(worker *w, site at) {
    OK(hipStreamAddCallback(at.s, scramble_back, w->buffers[at.a], 0));
}

static void op_callback_launches(worker *w, site at) {
#ifdef HIP_CODE
    /* AMD's header forbids calls in callbacks, and its runtime deadlocks when a thread waits with its lock meanwhile. */
    op_callback(w, at);
    return;
#endif
    OK(hipStreamAddCallback(at.s, launch_aside, w, 0));
    w->callbacks++;
}

static void op_temporary(worker *w, site at) {
    uint32_t *memory;
    if (pick(w, 2)) OK(hipMallocAsync((void **)&memory, Words * 4, at.s));
    else OK(hipMallocFromPoolAsync((void **)&memory, Words * 4, w->pool, at.s));
    OK(hipMemcpyAsync(memory, w->buffers[at.a], Words * 4, hipMemcpyDeviceToDevice, at.s));
    put(memory + 8, pick(w, 1000), 32, at.s);
    OK(hipMemcpyAsync(w->buffers[at.b], memory, Words * 4, hipMemcpyDeviceToDevice, at.s));
    OK(hipFreeAsync(memory, at.s));
}

static void op_graph(worker *w, site at) {
    /* A graph works on the buffer of its number, which the event of a must guard. */
    int graph = (int)pick(w, Graphs);
    OK(hipStreamWaitEvent(at.s, w->touched[graph], 0));
    OK(hipGraphLaunch(w->graphs[graph], at.s));
    OK(hipEventRecord(w->touched[graph], at.s));
}

static void op_capture(worker *w, site at) {
    hipGraph_t graph;
    hipGraphExec_t exec;
    /* A blocking stream's capture would refuse what other threads do on the default stream. */
    hipStream_t of = w->streams[pick(w, threads > 1 ? 2 : Streams)];
    OK(hipStreamBeginCapture(of, hipStreamCaptureModeThreadLocal + (int)pick(w, 2)));
    for (int i = 0; i < 5; i++) bump((uint64_t *)w->buffers[at.a] + 20 + i, (uint64_t)i, of);
    OK(hipStreamEndCapture(of, &graph));
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    OK(hipGraphDestroy(graph));
    OK(hipGraphLaunch(exec, at.s));
    OK(hipStreamSynchronize(at.s));
    OK(hipGraphExecDestroy(exec));
}

static void op_write_value(worker *w, site at) {
    if (pick(w, 2)) OK(hipStreamWriteValue32(at.s, w->buffers[at.a] + pick(w, 50), pick(w, 1000), 0));
    else OK(hipStreamWriteValue64(at.s, (uint64_t *)w->buffers[at.a] + pick(w, 50), pick(w, 1000), 0));
}

/* One stream writes, another waits for it instead of for an event. The write is queued first, so the two may share a queue. */
static void op_wait_value(worker *w, site at) {
    hipStream_t other = w->streams[pick(w, Streams)];
    uint32_t number = (uint32_t)++w->flags;
    op_fill(w, at);
    OK(hipStreamWaitEvent(at.s, w->flagged, 0));
    OK(hipStreamWriteValue32(at.s, w->flag, number, 0));
    OK(hipStreamWaitValue32(other, w->flag, number, 0, ~0u)); /* at least */
    bump((uint64_t *)w->buffers[at.a] + pick(w, 40), 5, other);
    OK(hipEventRecord(w->flagged, other));
    OK(hipEventRecord(w->touched[at.a], other));
    OK(hipStreamWaitEvent(at.s, w->touched[at.a], 0));
}

static void op_read(worker *w, site at) {
    OK(hipEventSynchronize(w->touched[at.a]));
    OK(hipMemcpy(w->host, w->buffers[at.a], at.n * 4, hipMemcpyDeviceToHost));
    w->sum = w->sum * 1000003ul + checksum(w->host, at.n * 4);
}

static void op_ask(worker *w, site at) {
    put(w->buffers[at.a] + 10, pick(w, 1000), 500, at.s);
    hipError_t answer = hipEventQuery(w->touched[at.b]);
    TRUE(answer == hipSuccess || answer == hipErrorNotReady);
    answer = hipStreamQuery(at.s);
    TRUE(answer == hipSuccess || answer == hipErrorNotReady);
    (void)hipGetLastError();
}

static void op_wait_for_all(worker *w, site at) {
    if (threads > 1) {
        for (int i = 0; i < Streams; i++) OK(hipStreamSynchronize(w->streams[i]));
        return;
    }
    OK(hipDeviceSynchronize());
    put(w->buffers[at.a], pick(w, 1000), 200, NULL);
    OK(hipStreamSynchronize(NULL));
}

static void op_allocate(worker *w, site at) {
    uint32_t *memory;
    OK(hipMalloc((void **)&memory, at.n * 4));
    OK(hipMemcpyAsync(memory, w->buffers[at.a], at.n * 4, hipMemcpyDeviceToDevice, at.s));
    OK(hipMemcpyAsync(w->buffers[at.b], memory, at.n * 4, hipMemcpyDeviceToDevice, at.s));
    OK(hipFree(memory)); /* waits */
}

static void (*const operations[])(worker *, site) = {
    op_fill,     op_fill,          op_count,      op_count,        op_add,        op_add,   op_copy,
    op_copy,     op_copy_rows,     op_through_host, op_set,        op_host_function, op_callback, op_callback_launches,
    op_temporary, op_graph,        op_graph,      op_capture,      op_write_value, op_wait_value, op_read,
    op_ask,      op_wait_for_all,  op_allocate,
};

static void prepare(worker *w) {
    OK(hipDeviceGetDefaultMemPool(&w->pool, 0));
    for (int i = 0; i < Streams; i++) {
        if (i < 2) w->streams[i] = stream_of(hipStreamNonBlocking);
        else if (i < 4) w->streams[i] = stream_of(0);
        else OK(hipStreamCreateWithPriority(&w->streams[i], (unsigned)i & 1, i == 4 ? -1 : 1));
    }
    w->aside = stream_of(hipStreamNonBlocking);
    for (int i = 0; i < Buffers; i++) {
        if (i & 1) OK(hipMalloc((void **)&w->buffers[i], Words * 4));
        else OK(hipMallocManaged((void **)&w->buffers[i], Words * 4, 1));
        OK(hipMemsetAsync(w->buffers[i], i, Words * 4, w->streams[0]));
        w->touched[i] = event_of(i % 2 ? hipEventDisableTiming : 0);
        OK(hipEventRecord(w->touched[i], w->streams[0]));
    }
    OK(hipHostMalloc((void **)&w->host, Words * 4, 0));
    OK(hipMalloc((void **)&w->counted, 8));
    OK(hipMalloc((void **)&w->flag, 8));
    w->flagged = event_of(hipEventDisableTiming);
    OK(hipMemsetAsync(w->counted, 0, 8, w->streams[0]));
    OK(hipMemsetAsync(w->flag, 0, 8, w->streams[0]));
    for (int g = 0; g < Graphs; g++) {
        hipGraph_t inner, outer;
        void *first, *second;
        OK(hipStreamBeginCapture(w->streams[g], hipStreamCaptureModeThreadLocal));
        for (int i = 0; i < 3; i++) bump((uint64_t *)w->buffers[g] + i, 3 + (uint64_t)i, w->streams[g]);
        OK(hipMemsetAsync(w->buffers[g] + 100, g + 5, 64, w->streams[g]));
        OK(hipStreamEndCapture(w->streams[g], &inner));
        OK(hipGraphCreate(&outer, 0));
        OK(hipGraphAddChildGraphNode(&first, outer, NULL, 0, inner));
        OK(hipGraphAddChildGraphNode(&second, outer, &first, 1, inner));
        OK(hipGraphInstantiate(&w->graphs[g], outer, NULL, NULL, 0));
        OK(hipGraphDestroy(inner));
        OK(hipGraphDestroy(outer));
    }
    OK(hipStreamSynchronize(w->streams[0]));
}

static void *work(void *of) {
    worker *w = of;
    prepare(w);
    for (int i = 0; i < w->operations; i++) {
        site at = {w->streams[pick(w, Streams)], (int)pick(w, Buffers), (int)pick(w, Buffers), (int)pick(w, Buffers),
                   pick(w, 3) ? 640 : Words};
        OK(hipStreamWaitEvent(at.s, w->touched[at.a], 0));
        OK(hipStreamWaitEvent(at.s, w->touched[at.b], 0));
        OK(hipStreamWaitEvent(at.s, w->touched[at.c], 0));
        operations[pick(w, sizeof operations / sizeof *operations)](w, at);
        OK(hipEventRecord(w->touched[at.a], at.s));
        OK(hipEventRecord(w->touched[at.b], at.s));
        OK(hipEventRecord(w->touched[at.c], at.s));
        if (threads == 1 && i % Report == Report - 1) say("after %d operations: %lx", i + 1, w->sum);
    }
    for (int i = 0; i < Streams; i++) OK(hipStreamSynchronize(w->streams[i]));
    OK(hipStreamSynchronize(w->aside));
    /* Not on the default stream: another thread may be capturing. */
    uint64_t counted;
    OK(hipMemcpyAsync(&counted, w->counted, 8, hipMemcpyDeviceToHost, w->aside));
    OK(hipStreamSynchronize(w->aside));
    TRUE(counted == w->callbacks);
    for (int i = 0; i < Buffers; i++) {
        OK(hipMemcpyAsync(w->host, w->buffers[i], Words * 4, hipMemcpyDeviceToHost, w->aside));
        OK(hipStreamSynchronize(w->aside));
        w->sum = w->sum * 1000003ul + checksum(w->host, Words * 4);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static worker workers[MaxThreads];
    unsigned long seed;
    int count;
    if (argc < 2) {
        for (int i = 1; i <= 4; i++) printf("random_%dx200x1\n", i);
        return puts("random_5x100x3") < 0;
    }
    if (sscanf(argv[1], "random_%lux%dx%d", &seed, &count, &threads) != 3 || threads < 1 || threads > MaxThreads)
        return fprintf(stderr, "no case %s\n", argv[1]), 2;
    filling = kernel("fill"), counting = kernel("counter"), adding = kernel("vector_add");
    for (int i = 0; i < threads; i++) {
        workers[i].random = seed * 0x9e3779b97f4a7c15ul + (uint64_t)i * 104729 + 1;
        workers[i].operations = count;
        workers[i].index = i;
        TRUE(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
    }
    for (int i = 0; i < threads; i++) {
        TRUE(!pthread_join(workers[i].thread, NULL));
        say("thread %d: %lx", i, workers[i].sum);
    }
    return 0;
}
