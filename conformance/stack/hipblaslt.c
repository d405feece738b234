/* hipBLASLt: heuristics and a product of matrices, on a stream given to each call. */
#include "stack.h"

typedef struct {
    unsigned char data[16];
    size_t most;
} algorithm;
typedef struct {
    algorithm algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} heuristic;

int hipblasLtCreate(void **handle);
int hipblasLtDestroy(void *handle);
int hipblasLtMatmulDescCreate(void **desc, int compute, int scale);
int hipblasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
int hipblasLtMatmulPreferenceCreate(void **preference);
int hipblasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference,
                                    int wanted, heuristic *found, int *count);
int hipblasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *la, const void *b, void *lb,
                    const void *beta, const void *c, void *lc, void *d, void *ld, const algorithm *algo, void *workspace,
                    size_t bytes, hipStream_t stream);

int main(void) {
    enum { Size = 128, Float = 0, Compute = 2 };
    float one = 1, zero = 0;
    void *a = zeros(Size * Size * 4), *b = zeros(Size * Size * 4), *c = zeros(Size * Size * 4);
    void *handle, *desc, *layout, *preference;
    heuristic found;
    int count = 0;
    hipStream_t s = own_stream();
    OK(hipblasLtCreate(&handle));
    OK(hipblasLtMatmulDescCreate(&desc, Compute, Float));
    OK(hipblasLtMatrixLayoutCreate(&layout, Float, Size, Size, Size));
    OK(hipblasLtMatmulPreferenceCreate(&preference));
    OK(hipblasLtMatmulAlgoGetHeuristic(handle, desc, layout, layout, layout, layout, preference, 1, &found, &count));
    say("found %d", count);
    TRUE(count == 1);
    void *workspace = zeros(found.workspace + 1);
    for (int i = 0; i < 20; i++)
        OK(hipblasLtMatmul(handle, desc, &one, a, layout, b, layout, &zero, c, layout, c, layout, &found.algo, workspace,
                           found.workspace, s));
    OK(hipStreamSynchronize(s));
    OK(hipblasLtDestroy(handle));
    return done();
}
