/* rocRAND: two generators. */
#include "stack.h"

int rocrand_create_generator(void **generator, int type);
int rocrand_set_stream(void *generator, hipStream_t stream);
int rocrand_set_seed(void *generator, unsigned long long seed);
int rocrand_generate_uniform(void *generator, void *to, size_t count);
int rocrand_generate_normal(void *generator, void *to, size_t count, float mean, float deviation);
int rocrand_destroy_generator(void *generator);

int main(void) {
    enum { Count = 1 << 16, Xorwow = 401, Philox = 404 };
    void *to = zeros(Count * 4), *generator;
    const int types[] = {Xorwow, Philox};
    hipStream_t s = own_stream();
    for (int t = 0; t < 2; t++) {
        OK(rocrand_create_generator(&generator, types[t]));
        OK(rocrand_set_stream(generator, s));
        OK(rocrand_set_seed(generator, 7));
        for (int i = 0; i < 10; i++) {
            OK(rocrand_generate_uniform(generator, to, Count));
            OK(rocrand_generate_normal(generator, to, Count, 0, 1));
        }
        OK(hipStreamSynchronize(s));
        OK(rocrand_destroy_generator(generator));
    }
    return done();
}
