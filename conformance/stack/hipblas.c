/* hipBLAS, above rocBLAS. */
#include "stack.h"

int hipblasCreate(void **handle);
int hipblasSetStream(void *handle, hipStream_t stream);
int hipblasSgemm(void *handle, int ta, int tb, int m, int n, int k, const float *alpha, const void *a, int lda,
                 const void *b, int ldb, const float *beta, void *c, int ldc);
int hipblasSscal(void *handle, int n, const float *alpha, void *x, int incx);
int hipblasDestroy(void *handle);

int main(void) {
    enum { Size = 96, None = 111 };
    float one = 1, zero = 0;
    void *a = zeros(Size * Size * 4), *b = zeros(Size * Size * 4), *c = zeros(Size * Size * 4), *handle;
    hipStream_t s = own_stream();
    OK(hipblasCreate(&handle));
    OK(hipblasSetStream(handle, s));
    for (int i = 0; i < 20; i++) {
        OK(hipblasSgemm(handle, None, None, Size, Size, Size, &one, a, Size, b, Size, &zero, c, Size));
        OK(hipblasSscal(handle, Size, &one, a, 1));
    }
    OK(hipStreamSynchronize(s));
    OK(hipblasDestroy(handle));
    return done();
}
