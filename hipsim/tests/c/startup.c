/* What PyTorch, vLLM and RCCL ask a runtime before their first kernel. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "case.h"

typedef void *hipMemPool_t, *hipCtx_t;
hipError_t hipInit(unsigned flags);
hipError_t hipGetDeviceCount(int *count);
hipError_t hipDeviceGetStreamPriorityRange(int *least, int *greatest);
hipError_t hipStreamGetAttribute(hipStream_t stream, int attribute, void *value);
hipError_t hipStreamSetAttribute(hipStream_t stream, int attribute, const void *value);
hipError_t hipStreamCopyAttributes(hipStream_t to, hipStream_t from);
hipError_t hipExtStreamGetCUMask(hipStream_t stream, uint32_t words, uint32_t *mask);
hipError_t hipPointerGetAttribute(void *data, int attribute, void *pointer);
hipError_t hipDrvPointerGetAttributes(unsigned count, int *attributes, void **data, void *pointer);
hipError_t hipPointerSetAttribute(const void *value, int attribute, void *pointer);
hipError_t hipDeviceGetP2PAttribute(int *value, int attribute, int from, int to);
hipError_t hipExtGetLinkTypeAndHopCount(int one, int other, uint32_t *type, uint32_t *hops);
hipError_t hipDeviceGetDefaultMemPool(hipMemPool_t *pool, int device);
hipError_t hipMemPoolCreate(hipMemPool_t *pool, const void *properties);
hipError_t hipMemPoolDestroy(hipMemPool_t pool);
hipError_t hipMemPoolGetAttribute(hipMemPool_t pool, int attribute, void *value);
hipError_t hipMemPoolSetAttribute(hipMemPool_t pool, int attribute, void *value);
hipError_t hipMemPoolSetAccess(hipMemPool_t pool, const void *descriptions, size_t count);
hipError_t hipMallocFromPoolAsync(void **pointer, size_t size, hipMemPool_t pool, hipStream_t stream);
hipError_t hipFreeAsync(void *pointer, hipStream_t stream);
hipError_t hipMemGetInfo(size_t *left, size_t *total);
hipError_t hipDeviceGetPCIBusId(char *id, int length, int device);
hipError_t hipDevicePrimaryCtxRetain(hipCtx_t *context, int device);
hipError_t hipCtxEnablePeerAccess(hipCtx_t context, unsigned flags);
hipError_t hipCtxDisablePeerAccess(hipCtx_t context);
hipError_t hipMallocManaged(void **pointer, size_t size, unsigned flags);
hipError_t hipHostRegister(void *pointer, size_t size, unsigned flags);
hipError_t hipHostUnregister(void *pointer);

enum { InvalidValue = 1, InvalidDevice = 101, InvalidContext = 201, Priority = 8 };

static void streams(void) {
    int least, greatest, value = 77;
    uint32_t mask[2] = {0, 0};
    hipStream_t s = stream_of(0), t = stream_of(hipStreamNonBlocking);
    OK(hipDeviceGetStreamPriorityRange(&least, &greatest));
    OK(hipStreamGetAttribute(s, Priority, &value));
    TRUE(value == 0);
    OK(hipStreamSetAttribute(s, Priority, &greatest));
    OK(hipStreamCopyAttributes(t, s));
    OK(hipStreamGetAttribute(t, Priority, &value));
    TRUE(value == greatest);
    IS(hipStreamGetAttribute(s, 99, &value), InvalidValue);
    OK(hipExtStreamGetCUMask(s, 2, mask));
    TRUE(mask[0] == ~0u && mask[1] == (1u << 28) - 1); /* 60 units */
}

static void pointers(void) {
    char *p, host[4096];
    void *start;
    int ordinal;
    bool managed;
    size_t size;
    OK(hipMalloc((void **)&p, 1000));
    OK(hipPointerGetAttribute(&start, 11, p + 500));
    OK(hipPointerGetAttribute(&size, 12, p + 500));
    TRUE(start == p && size == 1000);
    IS(hipPointerGetAttribute(&size, 12, host), InvalidValue);
    int attributes[] = {9, 8};
    void *results[] = {&ordinal, &managed};
    ordinal = 7, managed = true;
    OK(hipDrvPointerGetAttributes(2, attributes, results, p));
    TRUE(ordinal == 0 && !managed);
    OK(hipDrvPointerGetAttributes(1, attributes, results, host));
    TRUE(ordinal == -2);
    IS(hipDrvPointerGetAttributes(0, attributes, results, host), InvalidValue);
    OK(hipPointerSetAttribute(&managed, 6, p));
    OK(hipHostRegister(host, sizeof host, 0));
    OK(hipPointerGetAttribute(&start, 4, host + 1));
    TRUE(start == host + 1);
    OK(hipHostUnregister(host));
    OK(hipFree(p));
    IS(hipPointerGetAttribute(&start, 3, p), InvalidValue);
    TRUE(!start);
}

/* RCCL passes a bool, and what lies behind it is its own. */
static void pointer_flags(void) {
    enum { SyncMemops = 6, IsManaged = 8, Mapped = 13 };
    static const int flags[] = {SyncMemops, IsManaged, Mapped};
    char *managed, *device, host[64];
    OK(hipMallocManaged((void **)&managed, 1000, 1));
    OK(hipMalloc((void **)&device, 1000));
    struct { char *of; hipError_t error; int expected[3]; } cases[] = {
        {managed, hipSuccess, {0, 1, 1}}, {device, hipSuccess, {0, 0, 1}}, {host, InvalidValue, {0, 0, 0}},
    };
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++) {
            unsigned char single[8], many[8];
            void *results[] = {many};
            memset(single, 0xa5, sizeof single);
            memset(many, 0xa5, sizeof many);
            IS(hipPointerGetAttribute(single, flags[k], cases[i].of), cases[i].error);
            OK(hipDrvPointerGetAttributes(1, (int *)&flags[k], results, cases[i].of));
            TRUE(single[0] == cases[i].expected[k] && many[0] == cases[i].expected[k]);
            for (int n = 1; n < 8; n++) TRUE(single[n] == 0xa5 && many[n] == 0xa5);
        }
    }
    OK(hipFree(device));
    OK(hipFree(managed));
}

static void pools(void) {
    hipMemPool_t pool, other;
    uint64_t threshold = ~0ull, found = 0;
    int reuse = 0;
    char properties[88] = {0};
    void *p;
    OK(hipDeviceGetDefaultMemPool(&pool, 0));
    OK(hipMemPoolSetAttribute(pool, 4, &threshold));
    OK(hipMemPoolGetAttribute(pool, 4, &found));
    OK(hipMemPoolGetAttribute(pool, 1, &reuse));
    TRUE(found == threshold && reuse == 1);
    OK(hipMemPoolCreate(&other, properties));
    OK(hipMemPoolGetAttribute(other, 4, &found));
    TRUE(other != pool && found == 0);
    OK(hipMemPoolSetAccess(other, properties, 1));
    OK(hipMallocFromPoolAsync(&p, 64, other, NULL));
    OK(hipFreeAsync(p, NULL));
    OK(hipMemPoolDestroy(other));
    IS(hipMallocFromPoolAsync(&p, 64, other, NULL), InvalidValue);
    IS(hipMemPoolDestroy(other), InvalidValue);
}

/* Of two threads that destroy the same pool one succeeds. Round for round, so that they meet, for half a second: on
   a busy machine a round takes as long as others' time slices. */
enum { Pools = 20000 };
static struct destroyer {
    int at, destroyed;
    struct destroyer *other;
} destroyers[2] = {{.other = &destroyers[1]}, {.other = &destroyers[0]}};
static hipMemPool_t doomed[Pools];
static int rounds = Pools;

static void *destroy_all(void *of) {
    struct destroyer *own = of;
    double end = now_ms() + 500;
    for (int i = 0; i < Pools; i++) {
        if (own == &destroyers[0] && now_ms() > end) __atomic_store_n(&rounds, i, __ATOMIC_SEQ_CST);
        __atomic_store_n(&own->at, i + 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&own->other->at, __ATOMIC_SEQ_CST) <= i) sched_yield();
        if (i >= __atomic_load_n(&rounds, __ATOMIC_SEQ_CST)) break;
        hipError_t error = hipMemPoolDestroy(doomed[i]);
        if (error != InvalidValue) OK(error), own->destroyed++;
    }
    return NULL;
}

static void pools_die_once(void) {
    char properties[88] = {0};
    pthread_t other;
    for (int i = 0; i < Pools; i++) OK(hipMemPoolCreate(&doomed[i], properties));
    TRUE(!pthread_create(&other, NULL, destroy_all, &destroyers[1]));
    destroy_all(&destroyers[0]);
    pthread_join(other, NULL);
    TRUE(rounds > 0 && destroyers[0].destroyed + destroyers[1].destroyed == rounds);
}

static void devices(void) {
    int count, value;
    uint32_t type, hops;
    hipCtx_t peer;
    char id[32];
    size_t left, total;
    OK(hipInit(0));
    OK(hipGetDeviceCount(&count));
    TRUE(count == 2);
    OK(hipDeviceGetPCIBusId(id, sizeof id, 1));
    OK(hipDeviceGetP2PAttribute(&value, 1, 0, 1));
    TRUE(value == 1);
    IS(hipDeviceGetP2PAttribute(&value, 1, 0, 0), InvalidDevice);
    OK(hipExtGetLinkTypeAndHopCount(0, 1, &type, &hops));
    TRUE(hops == 1);
    OK(hipDevicePrimaryCtxRetain(&peer, 1));
    OK(hipCtxEnablePeerAccess(peer, 0));
    OK(hipCtxDisablePeerAccess(peer));
    IS(hipCtxEnablePeerAccess(&value, 0), InvalidContext);
    OK(hipMemGetInfo(&left, &total));
    TRUE(left <= total);
}

int main(void) {
    devices();
    streams();
    pointers();
    pointer_flags();
    pools();
    pools_die_once();
    return 0;
}
