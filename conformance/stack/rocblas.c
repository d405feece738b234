/* rocBLAS: a product of matrices (Tensile's code objects), vectors with results on the host. */
#include "stack.h"

int rocblas_create_handle(void **handle);
int rocblas_set_stream(void *handle, hipStream_t stream);
int rocblas_sgemm(void *handle, int ta, int tb, int m, int n, int k, const float *alpha, const void *a, int lda,
                  const void *b, int ldb, const float *beta, void *c, int ldc);
int rocblas_saxpy(void *handle, int n, const float *alpha, const void *x, int incx, void *y, int incy);
int rocblas_sdot(void *handle, int n, const void *x, int incx, const void *y, int incy, float *result);
int rocblas_destroy_handle(void *handle);

int main(void) {
    enum { Size = 128, None = 111 };
    float one = 1, zero = 0, dot;
    void *a = zeros(Size * Size * 4), *b = zeros(Size * Size * 4), *c = zeros(Size * Size * 4), *handle;
    hipStream_t s = own_stream();
    OK(rocblas_create_handle(&handle));
    OK(rocblas_set_stream(handle, s));
    for (int i = 0; i < 20; i++) {
        OK(rocblas_sgemm(handle, None, None, Size, Size, Size, &one, a, Size, b, Size, &zero, c, Size));
        OK(rocblas_saxpy(handle, Size, &one, a, 1, b, 1));
    }
    OK(rocblas_sdot(handle, Size, a, 1, b, 1, &dot));
    OK(hipStreamSynchronize(s));
    OK(rocblas_destroy_handle(handle));
    return done();
}
