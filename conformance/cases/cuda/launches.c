/* All twelve forms of launch, arguments reused at once, graphs built of nodes. */
#include "words.h"

/* The forms add to a counter of their own, so that a lost launch is seen, and which one. */
static void every_form_of_launch(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(12 * 8), add = 1, *at;
    hipFunction_t f = kernel("counter");
    void *params[] = {&at, &add};
    CUlaunchConfig config = {1, 1, 1, 64, 1, 1, 0, s, NULL, 0};
    for (int round = 0; round < 20; round++) {
        at = &p[0];
        OK(cuLaunchKernel(f, 1, 1, 1, 64, 1, 1, 0, s, params, NULL));
        at = &p[1];
        OK(cuLaunchKernel_ptsz(f, 1, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
        at = &p[2];
        config.hStream = s;
        OK(cuLaunchKernelEx(&config, f, params, NULL));
        at = &p[3];
        config.hStream = NULL;
        OK(cuLaunchKernelEx_ptsz(&config, f, params, NULL));
        at = &p[4];
        OK(cuLaunchCooperativeKernel(f, 1, 1, 1, 64, 1, 1, 0, s, params));
        at = &p[5];
        OK(cuLaunchCooperativeKernel_ptsz(f, 1, 1, 1, 64, 1, 1, 0, NULL, params));
        at = &p[6];
        CUDA_LAUNCH_PARAMS launch = {f, 1, 1, 1, 64, 1, 1, 0, s, params};
        OK(cuLaunchCooperativeKernelMultiDevice(&launch, 1, 0));
        OK(cuFuncSetBlockShape(f, 64, 1, 1));
        OK(cuParamSetSize(f, 16));
        OK(cuParamSeti(f, 8, 1));
        OK(cuParamSeti(f, 12, 0));
        for (int form = 7; form < 10; form++) {
            at = &p[form];
            OK(cuParamSetv(f, 0, &at, sizeof at));
            OK(form == 7 ? cuLaunch(f) : form == 8 ? cuLaunchGrid(f, 1, 1) : cuLaunchGridAsync(f, 1, 1, s));
        }
    }
    SHOW(hipDeviceSynchronize());
    for (int form = 0; form < 10; form++) {
        say("form %d counted %lu", form, (unsigned long)p[form]);
        TRUE(p[form] == 20);
    }
}

/* Captured work runs at a launch of the graph, on the stream or the thread's. */
static void both_forms_of_graph_launch(void) {
    hipStream_t s = stream_of(0);
    hipGraph_t graph;
    hipGraphExec_t executable;
    uint64_t *p = device(8);
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    for (int i = 0; i < 5; i++) count(p, 1, s);
    OK(cuStreamEndCapture(s, &graph));
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    for (int round = 0; round < 10; round++) {
        OK(cuGraphLaunch(executable, s));
        OK(cuStreamSynchronize(s));
        OK(cuGraphLaunch_ptsz(executable, NULL));
        OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
        TRUE(*p == 10u * (unsigned)(round + 1));
    }
    say("counted %lu", (unsigned long)*p);
}

static void graphs_of_kernel_nodes(void) {
    hipGraph_t graph;
    hipGraphExec_t executable;
    CUgraphNode nodes[6];
    hipStream_t s = stream_of(hipStreamNonBlocking);
    float *x = ramp(500), *y = ramp(500), a = 0.5f;
    size_t n = 500;
    void *params[] = {&a, &x, &y, &n};
    OK(cuGraphCreate(&graph, 0));
    for (int i = 0; i < 6; i++) {
        a = 0.5f + 0.1f * (float)i;
        CUDA_KERNEL_NODE_PARAMS node = {kernel("saxpy"), 1, 1, 1, 64, 1, 1, 0, params, NULL, NULL, NULL};
        OK(cuGraphAddKernelNode_v2(&nodes[i], graph, i ? &nodes[i - 1] : NULL, i ? 1 : 0, &node));
    }
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    for (int round = 0; round < 5; round++) {
        OK(cuGraphLaunch(executable, s));
        fill(y, 0x3f000000, 8, s);
    }
    SHOW(cuStreamSynchronize(s));
    say("y %lx", checksum(y, n * sizeof *y));
}

static void arguments_reused_at_once(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), sum = 0;
    for (uint64_t i = 0; i < 200; i++) {
        struct {
            uint64_t *at, add;
        } packed = {p, i};
        size_t size = sizeof packed;
        void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
        OK(cuLaunchKernel(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, s, NULL, extra));
        packed.add = 1000000;
        sum += i;
    }
    SHOW(cuStreamSynchronize(s));
    say("counted %lu", (unsigned long)*p);
    TRUE(*p == sum);
}

static void kernels_of_libraries(void) {
    CUlibrary library;
    CUkernel counter;
    CUfunction function;
    uint64_t *p = device(8), add = 3;
    void *params[] = {&p, &add};
    static const char ptx[] = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry counter(.param .u64 p) { ret; }";
    OK(cuLibraryLoadData(&library, ptx, NULL, NULL, 0, NULL, NULL, 0));
    SHOW(cuLibraryGetKernel(&counter, library, "not_there"));
    OK(cuLibraryGetKernel(&counter, library, "counter"));
    OK(cuKernelGetFunction(&function, counter));
    OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    OK(cuLaunchKernel((CUfunction)counter, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    SHOW(cuCtxSynchronize());
    say("counted %lu", (unsigned long)*p);
    TRUE(*p == 6);
    SHOW(cuLibraryUnload(library));
}

CASES(CASE(every_form_of_launch), CASE(both_forms_of_graph_launch), CASE(graphs_of_kernel_nodes),
      CASE(arguments_reused_at_once), CASE(kernels_of_libraries))
