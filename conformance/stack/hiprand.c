/* hipRAND, above rocRAND. */
#include "stack.h"

int hiprandCreateGenerator(void **generator, int type);
int hiprandSetStream(void *generator, hipStream_t stream);
int hiprandGenerateUniform(void *generator, void *to, size_t count);
int hiprandDestroyGenerator(void *generator);

int main(void) {
    enum { Count = 1 << 16, Default = 400 };
    void *to = zeros(Count * 4), *generator;
    hipStream_t s = own_stream();
    OK(hiprandCreateGenerator(&generator, Default));
    OK(hiprandSetStream(generator, s));
    for (int i = 0; i < 20; i++) OK(hiprandGenerateUniform(generator, to, Count));
    OK(hipStreamSynchronize(s));
    OK(hiprandDestroyGenerator(generator));
    return done();
}
