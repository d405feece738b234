/* rocFFT: kernels compiled when a plan is made. */
#include "stack.h"

int rocfft_setup(void);
int rocfft_cleanup(void);
int rocfft_plan_create(void **plan, int placement, int type, int precision, size_t dimensions, const size_t *lengths,
                       size_t transforms, void *description);
int rocfft_execute(void *plan, void **in, void **out, void *info);
int rocfft_plan_destroy(void *plan);

int main(void) {
    enum { Length = 1024, Batch = 8 };
    size_t length = Length;
    void *data = zeros(Length * Batch * 8), *plan;
    OK(rocfft_setup());
    OK(rocfft_plan_create(&plan, 0, 0, 0, 1, &length, Batch, NULL));
    for (int i = 0; i < 20; i++) OK(rocfft_execute(plan, &data, NULL, NULL));
    OK(hipDeviceSynchronize());
    OK(rocfft_plan_destroy(plan));
    OK(rocfft_cleanup());
    return done();
}
