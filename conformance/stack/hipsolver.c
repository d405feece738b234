/* hipSOLVER, above rocSOLVER. */
#include "stack.h"

int hipsolverCreate(void **handle);
int hipsolverSetStream(void *handle, hipStream_t stream);
int hipsolverSgetrf_bufferSize(void *handle, int m, int n, void *a, int lda, int *size);
int hipsolverSgetrf(void *handle, int m, int n, void *a, int lda, void *work, int size, void *pivots, void *info);
int hipsolverDestroy(void *handle);

int main(void) {
    enum { Size = 48 };
    void *a = zeros(Size * Size * 4), *pivots = zeros(Size * 4), *info = zeros(4), *handle;
    int size = 0;
    hipStream_t s = own_stream();
    OK(hipsolverCreate(&handle));
    OK(hipsolverSetStream(handle, s));
    OK(hipsolverSgetrf_bufferSize(handle, Size, Size, a, Size, &size));
    void *work = zeros((size_t)size * 4 + 4);
    for (int i = 0; i < 4; i++) OK(hipsolverSgetrf(handle, Size, Size, a, Size, work, size, pivots, info));
    OK(hipStreamSynchronize(s));
    OK(hipsolverDestroy(handle));
    return done();
}
