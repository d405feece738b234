// AMD's own library as Debian ships it: launches, copies and allocations from inside librocrand.
#include <hip/hip_runtime.h>
#include <rocrand/rocrand.h>

#include <vector>

#include "transcript.h"

static const size_t N = 1 << 16;

// The simulator runs the library's kernels without computing them: what comes back is what other kernels and copies left.
static void librocrand_generates() {
    float *numbers;
    std::vector<float> host(N);
    OK(hipMalloc((void **)&numbers, N * sizeof(float)));
    int seed = 0;
    for (rocrand_rng_type type : {ROCRAND_RNG_PSEUDO_PHILOX4_32_10, ROCRAND_RNG_PSEUDO_XORWOW, ROCRAND_RNG_PSEUDO_MRG32K3A,
                                  ROCRAND_RNG_QUASI_SOBOL32}) {
        rocrand_generator generator;
        hipStream_t stream;
        OK(rocrand_create_generator(&generator, type));
        say("seed: %d", rocrand_set_seed(generator, 1234));
        OK(hipMemset(numbers, ++seed, N * sizeof(float)));
        for (int i = 0; i < 10; i++) OK(rocrand_generate_uniform(generator, numbers, N));
        say("normal: %d", rocrand_generate_normal(generator, numbers, N, 0.0f, 1.0f));
        OK(hipStreamCreate(&stream));
        OK(rocrand_set_stream(generator, stream));
        for (int i = 0; i < 10; i++) OK(rocrand_generate_uniform(generator, numbers, N));
        OK(hipStreamSynchronize(stream));
        OK(hipMemcpy(host.data(), numbers, N * sizeof(float), hipMemcpyDeviceToHost));
        say("type %d: %lx", type, checksum(host.data(), N * sizeof(float)));
        say("odd size: %d", rocrand_generate_normal(generator, numbers, 3, 0.0f, 1.0f));
        OK(rocrand_destroy_generator(generator));
        OK(hipStreamDestroy(stream));
    }
    SHOW(hipDeviceSynchronize());
    say("without a generator: %d", rocrand_generate_uniform(nullptr, numbers, N));
}

CASES(CASE(librocrand_generates))
