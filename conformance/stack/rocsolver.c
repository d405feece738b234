/* rocSOLVER: a factorisation, which is many kernels of its own and of rocBLAS. */
#include "stack.h"

int rocblas_create_handle(void **handle);
int rocblas_set_stream(void *handle, hipStream_t stream);
int rocblas_destroy_handle(void *handle);
int rocsolver_sgetrf(void *handle, int m, int n, void *a, int lda, void *pivots, void *info);
int rocsolver_spotrf(void *handle, int uplo, int n, void *a, int lda, void *info);

int main(void) {
    enum { Size = 64, Lower = 122 };
    void *a = zeros(Size * Size * 4), *pivots = zeros(Size * 4), *info = zeros(4), *handle;
    hipStream_t s = own_stream();
    OK(rocblas_create_handle(&handle));
    OK(rocblas_set_stream(handle, s));
    for (int i = 0; i < 4; i++) {
        OK(rocsolver_sgetrf(handle, Size, Size, a, Size, pivots, info));
        OK(rocsolver_spotrf(handle, Lower, Size, a, Size, info));
    }
    OK(hipStreamSynchronize(s));
    OK(rocblas_destroy_handle(handle));
    return done();
}
