/* A fake libamdhip64.so.5: real symbol versions, one simulated device that
 * runs kernels one after the other, and a record of what it was called with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { uint32_t x, y, z; } dim3;
typedef void *stream_t;
typedef void *event_t;

enum { RING = 1 << 16, NOT_READY = 600 };

struct fake_call {
    uint64_t integers[12];
    dim3 grid, block;
    void *return_address;
    void *frame;
};

struct fake_stream { int64_t done_at; int capturing; };
struct fake_event { int64_t done_at; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t kernel_ns, device_free_at, done_at[RING];
static uint64_t head, tail;
static struct fake_stream null_stream;
/* Per thread, as in the real runtime: one thread's failure is not another's. */
static __thread int last_error;
static __thread int device;

struct fake_call fake_last;
volatile uint64_t fake_launches, fake_records, fake_queries, fake_captured, fake_other;
uint64_t fake_max_in_flight;
int fake_next_error;
/* Called by each query of an event, as a runtime that waits and lets a cancelled thread end there. */
void (*fake_on_query)(void);

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

void fake_set_kernel_ns(int64_t ns) { kernel_ns = ns; }
void fake_reset_max(void) { fake_max_in_flight = 0; }

static struct fake_stream *of(stream_t s) { return (uintptr_t)s <= 2 ? &null_stream : s; }

static int result(int error) {
    if (error) last_error = error;
    return error;
}

static int enqueue(stream_t s) {
    __atomic_fetch_add(&fake_launches, 1, __ATOMIC_RELAXED);
    if (of(s)->capturing) { fake_captured++; return 0; }
    if (kernel_ns) {
        pthread_mutex_lock(&lock);
        int64_t t = now();
        while (tail != head && done_at[tail % RING] <= t) tail++;
        if (device_free_at < t) device_free_at = t;
        device_free_at += kernel_ns;
        done_at[head++ % RING] = device_free_at;
        of(s)->done_at = device_free_at;
        if (head - tail > fake_max_in_flight) fake_max_in_flight = head - tail;
        pthread_mutex_unlock(&lock);
    }
    int error = fake_next_error;
    fake_next_error = 0;
    return error ? result(error) : 0;
}

static void wait_until(int64_t t) {
    struct timespec at = { t / 1000000000, t % 1000000000 };
    while (now() < t) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

__attribute__((noinline))
int hipLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, stream_t s) {
    if (kernel_ns >= 0) {
        fake_last.integers[0] = (uint64_t)f;
        fake_last.integers[1] = (uint64_t)args;
        fake_last.integers[2] = shared;
        fake_last.integers[3] = (uint64_t)s;
        fake_last.grid = grid;
        fake_last.block = block;
        fake_last.return_address = __builtin_return_address(0);
        fake_last.frame = __builtin_frame_address(0);
    }
    return enqueue(s);
}

int fake_straight_launch(const void *f, dim3 grid, dim3 block, void **args, size_t shared, stream_t s)
    __attribute__((alias("hipLaunchKernel")));

int hipModuleLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, stream_t s, void **params, void **extra) {
    uint64_t all[] = { (uint64_t)f, gx, gy, gz, bx, by, bz, shared, (uint64_t)s, (uint64_t)params,
                       (uint64_t)extra };
    memcpy(fake_last.integers, all, sizeof all);
    fake_last.return_address = __builtin_return_address(0);
    fake_last.frame = __builtin_frame_address(0);
    return enqueue(s);
}

int hipGraphLaunch(void *graph, stream_t s) { (void)graph; return enqueue(s); }

int hipMemcpyAsync(void *dst, const void *src, size_t n, int kind, stream_t s) {
    (void)dst; (void)src; (void)n; (void)kind;
    return enqueue(s);
}

int hipStreamCreateWithFlags(stream_t *s, unsigned flags) {
    (void)flags;
    *s = calloc(1, sizeof(struct fake_stream));
    return 0;
}
int hipStreamCreate(stream_t *s) { return hipStreamCreateWithFlags(s, 0); }
int hipStreamDestroy(stream_t s) { free(s); return 0; }

int hipStreamSynchronize(stream_t s) { wait_until(of(s)->done_at); return 0; }
int hipStreamQuery(stream_t s) { return of(s)->done_at <= now() ? 0 : result(NOT_READY); }
int hipDeviceSynchronize(void) { errno = ENOTTY; wait_until(device_free_at); return 0; }

int hipMemcpy(void *dst, const void *src, size_t n, int kind) {
    (void)kind;
    wait_until(device_free_at);
    memcpy(dst, src, n);
    return 0;
}

int hipEventCreateWithFlags(event_t *e, unsigned flags) {
    if (flags & 0x20000000) return result(1); /* newer than this runtime */
    *e = calloc(1, sizeof(struct fake_event));
    return 0;
}
int hipEventDestroy(event_t e) { free(e); return 0; }
int hipEventRecord(event_t e, stream_t s) {
    __atomic_fetch_add(&fake_records, 1, __ATOMIC_RELAXED);
    if (of(s)->capturing) fake_captured++;
    ((struct fake_event *)e)->done_at = of(s)->done_at;
    return 0;
}
int hipEventQuery(event_t e) {
    __atomic_fetch_add(&fake_queries, 1, __ATOMIC_RELAXED);
    if (fake_on_query) fake_on_query();
    return ((struct fake_event *)e)->done_at <= now() ? 0 : result(NOT_READY);
}
int hipEventSynchronize(event_t e) { wait_until(((struct fake_event *)e)->done_at); return 0; }

int hipStreamBeginCapture(stream_t s, int mode) { (void)mode; of(s)->capturing = 1; return 0; }
int hipStreamEndCapture(stream_t s, void **graph) { of(s)->capturing = 0; *graph = s; return 0; }
int hipStreamIsCapturing(stream_t s, int *status) { *status = of(s)->capturing; return 0; }

int hipSetDevice(int d) { device = d; return 0; }
int hipGetDevice(int *d) { *d = device; return 0; }
int hipGetDeviceCount(int *n) { *n = 2; return 0; }
int hipDeviceGetPCIBusId(char *out, int len, int d) { snprintf(out, len, "0000:%02x:00.0", 0xc1 + d); return 0; }
int hipPeekAtLastError(void) { return last_error; }
int hipGetLastError(void) { int e = last_error; last_error = 0; return e; }

int hipGetProcAddress(const char *name, void **out, int version, uint64_t flags, void *status) {
    (void)version; (void)flags; (void)status;
    static void *self;
    Dl_info info;
    if (!self && dladdr((void *)now, &info)) self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    *out = dlsym(self, name);
    return *out ? 0 : 500;
}

/* A call of the runtime to itself, through its own PLT. */
int fake_reenter(void) {
    fake_other++;
    dim3 one = { 1, 1, 1 };
    return hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
}
