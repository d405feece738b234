// AMD's own library as Debian ships it: sparse matrix products from inside librocsparse.
#include <hip/hip_runtime.h>
#include <rocsparse/rocsparse.h>

#include <vector>

#include "transcript.h"

static const int N = 1000;

// The simulator runs the library's kernels without computing them: what comes back is what copies left.
static void librocsparse_multiplies() {
    rocsparse_handle handle;
    rocsparse_mat_descr description;
    hipStream_t stream;
    say("create: %d", rocsparse_create_handle(&handle));
    OK(rocsparse_create_mat_descr(&description));
    OK(hipStreamCreate(&stream));
    OK(rocsparse_set_stream(handle, stream));
    std::vector<int> rows(N + 1), columns(N);
    std::vector<float> values(N, 2.0f), x(N), y(N, 1.0f);
    for (int i = 0; i < N; i++) rows[i] = i, columns[i] = i, x[i] = 0.25f * float(i);
    rows[N] = N;
    int *device_rows, *device_columns;
    float *device_values, *device_x, *device_y;
    OK(hipMalloc((void **)&device_rows, (N + 1) * 4));
    OK(hipMalloc((void **)&device_columns, N * 4));
    OK(hipMalloc((void **)&device_values, N * 4));
    OK(hipMalloc((void **)&device_x, N * 4));
    OK(hipMalloc((void **)&device_y, N * 4));
    OK(hipMemcpy(device_rows, rows.data(), (N + 1) * 4, hipMemcpyHostToDevice));
    OK(hipMemcpy(device_columns, columns.data(), N * 4, hipMemcpyHostToDevice));
    OK(hipMemcpy(device_values, values.data(), N * 4, hipMemcpyHostToDevice));
    OK(hipMemcpy(device_x, x.data(), N * 4, hipMemcpyHostToDevice));
    OK(hipMemcpy(device_y, y.data(), N * 4, hipMemcpyHostToDevice));
    const float alpha = 1.5f, beta = 0.5f;
    for (int i = 0; i < 40; i++) {
        int code = rocsparse_scsrmv(handle, rocsparse_operation_none, N, N, N, &alpha, description, device_values, device_rows,
                                    device_columns, nullptr, device_x, &beta, device_y);
        if (i % 10 == 0) say("product %d: %d", i, code);
    }
    SHOW(hipStreamSynchronize(stream));
    OK(hipMemcpy(y.data(), device_y, N * 4, hipMemcpyDeviceToHost));
    say("y %lx", checksum(y.data(), N * 4));
    say("wrong size: %d", rocsparse_scsrmv(handle, rocsparse_operation_none, -1, N, N, &alpha, description, device_values,
                                           device_rows, device_columns, nullptr, device_x, &beta, device_y));
    OK(rocsparse_destroy_mat_descr(description));
    say("destroy: %d", rocsparse_destroy_handle(handle));
}

CASES(CASE(librocsparse_multiplies))
