/* What the test programs use of HIP and of the fake runtime. */
#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t x, y, z; } dim3;
typedef void *stream_t;
typedef void *event_t;

#ifdef CUDA
#include "cuda.h"
#else

int hipLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, stream_t s);
int hipModuleLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, stream_t s, void **params, void **extra);
int hipGraphLaunch(void *graph, stream_t s);
int hipMemcpyAsync(void *dst, const void *src, size_t n, int kind, stream_t s);
int hipMemcpy(void *dst, const void *src, size_t n, int kind);
int hipStreamCreate(stream_t *s);
int hipStreamDestroy(stream_t s);
int hipStreamSynchronize(stream_t s);
int hipStreamQuery(stream_t s);
int hipDeviceSynchronize(void);
int hipEventCreateWithFlags(event_t *e, unsigned flags);
int hipEventRecord(event_t e, stream_t s);
int hipEventSynchronize(event_t e);
int hipEventQuery(event_t e);
int hipStreamBeginCapture(stream_t s, int mode);
int hipStreamEndCapture(stream_t s, void **graph);
int hipSetDevice(int d);
int hipGetLastError(void);
int hipPeekAtLastError(void);
int hipGetProcAddress(const char *name, void **out, int version, uint64_t flags, void *status);
#endif

struct fake_call {
    uint64_t integers[12];
    dim3 grid, block;
    void *return_address;
    void *frame;
};
extern struct fake_call fake_last;
extern volatile uint64_t fake_launches, fake_records, fake_queries, fake_captured, fake_other;
extern uint64_t fake_max_in_flight;
extern int fake_next_error;
extern void (*fake_on_query)(void);
void fake_set_kernel_ns(int64_t ns);
void fake_reset_max(void);
int fake_reenter(void);
/* A second name of hipLaunchKernel. */
int fake_straight_launch(const void *f, dim3 grid, dim3 block, void **args, size_t shared, stream_t s);
