/* rocSPARSE: a sparse matrix times a vector. */
#include "stack.h"

int rocsparse_create_handle(void **handle);
int rocsparse_set_stream(void *handle, hipStream_t stream);
int rocsparse_create_mat_descr(void **descr);
int rocsparse_scsrmv(void *handle, int trans, int m, int n, int nnz, const float *alpha, void *descr, const void *values,
                     const void *rows, const void *columns, void *info, const void *x, const float *beta, void *y);
int rocsparse_saxpyi(void *handle, int nnz, const float *alpha, const void *values, const void *index, void *y, int base);
int rocsparse_destroy_handle(void *handle);

int main(void) {
    enum { Rows = 256, None = 111 };
    float one = 1, zero = 0;
    void *values = zeros(Rows * 4), *rows = zeros((Rows + 1) * 4), *columns = zeros(Rows * 4);
    void *x = zeros(Rows * 4), *y = zeros(Rows * 4), *handle, *descr;
    hipStream_t s = own_stream();
    OK(rocsparse_create_handle(&handle));
    OK(rocsparse_set_stream(handle, s));
    OK(rocsparse_create_mat_descr(&descr));
    for (int i = 0; i < 20; i++) {
        OK(rocsparse_scsrmv(handle, None, Rows, Rows, Rows, &one, descr, values, rows, columns, NULL, x, &zero, y));
        OK(rocsparse_saxpyi(handle, Rows, &one, values, columns, y, 0));
    }
    OK(hipStreamSynchronize(s));
    OK(rocsparse_destroy_handle(handle));
    return done();
}
