/* MIOpen: a convolution in immediate mode, which measures nothing. Its kernels are compiled here, but for a filter of one
 * pixel (FILTER=1), which is a product of rocBLAS's. */
#include "stack.h"

typedef struct {
    float time;
    size_t workspace;
    uint64_t id;
    int algorithm;
} solution;

int miopenCreateWithStream(void **handle, hipStream_t stream);
int miopenDestroy(void *handle);
int miopenCreateTensorDescriptor(void **tensor);
int miopenSet4dTensorDescriptor(void *tensor, int type, int n, int c, int h, int w);
int miopenCreateConvolutionDescriptor(void **convolution);
int miopenInitConvolutionDescriptor(void *convolution, int mode, int pad_h, int pad_w, int stride_h, int stride_w,
                                    int dilation_h, int dilation_w);
int miopenConvolutionForwardGetSolution(void *handle, void *w, void *x, void *convolution, void *y, size_t most,
                                        size_t *count, solution *found);
int miopenConvolutionForwardCompileSolution(void *handle, void *w, void *x, void *convolution, void *y, uint64_t id);
int miopenConvolutionForwardImmediate(void *handle, void *w, const void *weights, void *x, const void *in,
                                      void *convolution, void *y, void *out, void *workspace, size_t bytes, uint64_t id);

static void *tensor(int n, int c, int h, int w) {
    void *t;
    OK(miopenCreateTensorDescriptor(&t));
    OK(miopenSet4dTensorDescriptor(t, 1, n, c, h, w));
    return t;
}

int main(void) {
    enum { Images = 2, In = 8, Out = 8, Side = 16 };
    const char *asked = getenv("FILTER");
    int filter = asked ? atoi(asked) : 3;
    void *handle, *convolution;
    hipStream_t s = own_stream();
    OK(miopenCreateWithStream(&handle, s));
    void *x = tensor(Images, In, Side, Side), *w = tensor(Out, In, filter, filter), *y = tensor(Images, Out, Side, Side);
    OK(miopenCreateConvolutionDescriptor(&convolution));
    OK(miopenInitConvolutionDescriptor(convolution, 0, filter / 2, filter / 2, 1, 1, 1, 1));
    solution found;
    size_t count = 0;
    OK(miopenConvolutionForwardGetSolution(handle, w, x, convolution, y, 1, &count, &found));
    say("solutions %zu", count);
    TRUE(count == 1);
    OK(miopenConvolutionForwardCompileSolution(handle, w, x, convolution, y, found.id));
    void *in = zeros(Images * In * Side * Side * 4), *weights = zeros(Out * In * 9 * 4);
    void *out = zeros(Images * Out * Side * Side * 4), *workspace = zeros(found.workspace + 1);
    for (int i = 0; i < 10; i++)
        OK(miopenConvolutionForwardImmediate(handle, w, weights, x, in, convolution, y, out, workspace, found.workspace,
                                             found.id));
    OK(hipStreamSynchronize(s));
    OK(miopenDestroy(handle));
    return done();
}
