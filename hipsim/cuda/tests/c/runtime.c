/* A program of the CUDA runtime API as nvcc makes it, without nvcc: a fat binary of PTX text, registered kernels, launches, streams,
 * events, graphs, host functions. The runtime library itself is NVIDIA's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int cudaError_t;
typedef void *cudaStream_t, *cudaEvent_t, *cudaGraph_t, *cudaGraphExec_t;
typedef struct dim3 {
    unsigned x, y, z;
} dim3;

const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaMalloc(void **pointer, size_t size);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void *), void *data);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaLaunchKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream);
void **__cudaRegisterFatBinary(const void *wrapper);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaRegisterFunction(void **handle, const char *stub, char *function, const char *name, int limit, void *thread,
                            void *block, void *blockSize, void *gridSize, int *warp);

#define OK(call) check((call), #call, __LINE__)
static void check(cudaError_t error, const char *call, int line) {
    if (!error) return;
    printf("line %d: %s: %s (%d)\n", line, call, cudaGetErrorName(error), error);
    exit(1);
}
#define TRUE(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) printf("line %d: not true: %s\n", __LINE__, #condition), exit(1);        \
    } while (0)

#define PTX ".version 6.0\n.target sm_50\n.address_size 64\n" \
            ".visible .entry _Z10vector_addPKfS0_Pfm(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 n)\n{ ret; }\n" \
            ".visible .entry _Z7counterPmm(.param .u64 p, .param .u64 add)\n{ ret; }\n"

/* A fat binary with one file of PTX, which is not compressed: its header, the file's header, the file. */
static struct {
    uint32_t magic;
    uint16_t version, headerSize;
    uint64_t size;
    struct {
        uint16_t kind, version;
        uint32_t headerSize;
        uint64_t size;
        uint32_t compressedSize, nameOffset;
        uint16_t minor, major;
        uint32_t arch, nameSize, nameOffset2;
        uint64_t flags, zero, plainSize;
    } file;
    char text[(sizeof PTX + 7) / 8 * 8];
} fat = {0xba55ed50, 1, 16, 0, {1, 0x101, 64, 0, 0, 0, 0, 6, 50, 0, 64, 0x11, 0, 0}, PTX};

static struct {
    uint32_t magic, version;
    const void *fat;
    void *unused;
} wrapper = {0x466243b1, 1, &fat, NULL};

static char vector_add, counter;

static void begin(void) {
    fat.file.size = sizeof fat.text;
    fat.size = sizeof fat.file + sizeof fat.text;
    void **handle = __cudaRegisterFatBinary(&wrapper);
    __cudaRegisterFunction(handle, &vector_add, "_Z10vector_addPKfS0_Pfm", "_Z10vector_addPKfS0_Pfm", -1, NULL, NULL, NULL, NULL, NULL);
    __cudaRegisterFunction(handle, &counter, "_Z7counterPmm", "_Z7counterPmm", -1, NULL, NULL, NULL, NULL, NULL);
    __cudaRegisterFatBinaryEnd(handle);
}

static const dim3 one = {1, 1, 1}, block = {64, 1, 1};

static void count(uint64_t *p, uint64_t add, cudaStream_t stream) {
    void *arguments[] = {&p, &add};
    OK(cudaLaunchKernel(&counter, one, block, arguments, 0, stream));
}

static void seen(void *data) {
    ++*(int *)data;
}

int main(void) {
    enum { N = 10000 };
    int driver, runtime, devices, calls = 0;
    float *a, *b, *c, *host = malloc(N * sizeof *host), ms;
    size_t n = N;
    uint64_t *p, found = 0;
    cudaStream_t streams[2];
    cudaEvent_t start, end;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    begin();
    OK(cudaDriverGetVersion(&driver));
    OK(cudaRuntimeGetVersion(&runtime));
    OK(cudaGetDeviceCount(&devices));
    printf("driver %d, runtime %d, %d device\n", driver, runtime, devices);
    OK(cudaMalloc((void **)&a, N * sizeof *a));
    OK(cudaMalloc((void **)&b, N * sizeof *b));
    OK(cudaMalloc((void **)&c, N * sizeof *c));
    OK(cudaMalloc((void **)&p, 8));
    for (int i = 0; i < N; i++) host[i] = (float)i;
    OK(cudaMemcpy(a, host, N * sizeof *a, 1));
    OK(cudaMemcpy(b, host, N * sizeof *b, 1));
    void *arguments[] = {&a, &b, &c, &n};
    OK(cudaLaunchKernel(&vector_add, one, block, arguments, 0, NULL));
    OK(cudaMemcpy(host, c, N * sizeof *c, 2));
    for (int i = 0; i < N; i++) TRUE(host[i] == 2.0f * (float)i);
    puts("vectorAdd");

    for (int i = 0; i < 2; i++) OK(cudaStreamCreateWithFlags(&streams[i], 1));
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&end));
    OK(cudaMemsetAsync(p, 0, 8, streams[0]));
    OK(cudaEventRecord(start, streams[0]));
    for (int i = 0; i < 100; i++) count(p, 1, streams[0]);
    OK(cudaEventRecord(end, streams[0]));
    OK(cudaStreamWaitEvent(streams[1], end, 0));
    count(p, 1000, streams[1]);
    OK(cudaLaunchHostFunc(streams[1], seen, &calls));
    OK(cudaMemcpyAsync(&found, p, 8, 2, streams[1]));
    OK(cudaStreamSynchronize(streams[1]));
    TRUE(found == 1100 && calls == 1);
    OK(cudaEventSynchronize(end));
    OK(cudaEventElapsedTime(&ms, start, end));
    TRUE(ms > 0);
    puts("streams, events, host functions");

    OK(cudaStreamBeginCapture(streams[0], 0));
    for (int i = 0; i < 10; i++) count(p, 1, streams[0]);
    OK(cudaStreamEndCapture(streams[0], &graph));
    OK(cudaGraphInstantiateWithFlags(&executable, graph, 0));
    for (int i = 0; i < 5; i++) OK(cudaGraphLaunch(executable, streams[0]));
    OK(cudaDeviceSynchronize());
    OK(cudaMemcpy(&found, p, 8, 2));
    TRUE(found == 1150);
    puts("graphs");
    for (int i = 0; i < 2; i++) OK(cudaStreamDestroy(streams[i]));
    OK(cudaFree(a));
    OK(cudaGetLastError());
    puts("done");
    return 0;
}
