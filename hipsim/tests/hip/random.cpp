// Debian's real librocrand: its own launches, from inside the library.
#include <hip/hip_runtime.h>
#include <rocrand/rocrand.h>

#include <cstdio>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        int error = (int)(call);                                                                   \
        if (error) return std::fprintf(stderr, "%s: %d\n", #call, error), 1;                       \
    } while (0)

int main() {
    const size_t n = 1 << 16;
    float *numbers;
    CHECK(hipMalloc(&numbers, n * sizeof(float)));
    for (rocrand_rng_type type : {ROCRAND_RNG_PSEUDO_PHILOX4_32_10, ROCRAND_RNG_PSEUDO_XORWOW, ROCRAND_RNG_PSEUDO_MRG32K3A}) {
        rocrand_generator generator;
        CHECK(rocrand_create_generator(&generator, type));
        CHECK(rocrand_set_seed(generator, 1234));
        for (int i = 0; i < 4; i++) CHECK(rocrand_generate_uniform(generator, numbers, n));
        CHECK(rocrand_generate_normal(generator, numbers, n, 0.0f, 1.0f));
        hipStream_t stream;
        CHECK(hipStreamCreate(&stream));
        CHECK(rocrand_set_stream(generator, stream));
        CHECK(rocrand_generate_uniform(generator, numbers, n));
        CHECK(hipStreamSynchronize(stream));
        CHECK(rocrand_destroy_generator(generator));
    }
    CHECK(hipDeviceSynchronize());
    std::puts("ok");
}
