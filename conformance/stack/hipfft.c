/* hipFFT, above rocFFT: two dimensions. */
#include "stack.h"

int hipfftPlan2d(void **plan, int nx, int ny, int type);
int hipfftSetStream(void *plan, hipStream_t stream);
int hipfftExecC2C(void *plan, void *in, void *out, int direction);
int hipfftDestroy(void *plan);

int main(void) {
    enum { Side = 64, ComplexToComplex = 0x29, Forward = -1, Backward = 1 };
    void *data = zeros(Side * Side * 8), *plan;
    hipStream_t s = own_stream();
    OK(hipfftPlan2d(&plan, Side, Side, ComplexToComplex));
    OK(hipfftSetStream(plan, s));
    for (int i = 0; i < 10; i++) {
        OK(hipfftExecC2C(plan, data, data, Forward));
        OK(hipfftExecC2C(plan, data, data, Backward));
    }
    OK(hipStreamSynchronize(s));
    OK(hipfftDestroy(plan));
    return done();
}
