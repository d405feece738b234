/* Graphs and the rules of stream capture, one case per name on the command line. */
#include <stdint.h>

#include "case.h"

typedef void *hipGraph_t, *hipGraphExec_t, *hipGraphNode_t;
typedef struct {
    dim3 block;
    void **extra;
    void *function;
    dim3 grid;
    void **parameters;
    unsigned shared;
} kernel_params;
typedef struct {
    void (*function)(void *);
    void *data;
} host_params;
typedef struct {
    void *to;
    unsigned unit;
    size_t height, pitch;
    unsigned value;
    size_t width;
} memset_params;

hipError_t hipStreamBeginCapture(hipStream_t stream, int mode);
hipError_t hipStreamBeginCaptureToGraph(hipStream_t stream, hipGraph_t graph, const hipGraphNode_t *after, const void *data,
                                        size_t count, int mode);
hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t *graph);
hipError_t hipStreamIsCapturing(hipStream_t stream, int *status);
hipError_t hipStreamGetCaptureInfo_v2(hipStream_t stream, int *status, unsigned long long *id, hipGraph_t *graph,
                                      const hipGraphNode_t **after, size_t *count);
hipError_t hipEventRecordWithFlags(hipEvent_t event, hipStream_t stream, unsigned flags);
hipError_t hipGraphCreate(hipGraph_t *graph, unsigned flags);
hipError_t hipGraphClone(hipGraph_t *clone, hipGraph_t graph);
hipError_t hipGraphDestroy(hipGraph_t graph);
hipError_t hipGraphInstantiate(hipGraphExec_t *exec, hipGraph_t graph, void *node, char *log, size_t size);
hipError_t hipGraphExecUpdate(hipGraphExec_t exec, hipGraph_t graph, hipGraphNode_t *node, int *result);
hipError_t hipGraphUpload(hipGraphExec_t exec, hipStream_t stream);
hipError_t hipGraphLaunch(hipGraphExec_t exec, hipStream_t stream);
hipError_t hipGraphExecDestroy(hipGraphExec_t exec);
#define AFTER hipGraphNode_t *node, hipGraph_t graph, const hipGraphNode_t *after, size_t count
hipError_t hipGraphAddKernelNode(AFTER, const kernel_params *params);
hipError_t hipGraphAddMemcpyNode1D(AFTER, void *to, const void *from, size_t size, int kind);
hipError_t hipGraphAddMemsetNode(AFTER, const memset_params *params);
hipError_t hipGraphAddHostNode(AFTER, const host_params *params);
hipError_t hipGraphAddEmptyNode(AFTER);
hipError_t hipGraphAddEventRecordNode(AFTER, hipEvent_t event);
hipError_t hipGraphAddEventWaitNode(AFTER, hipEvent_t event);
hipError_t hipGraphAddChildGraphNode(AFTER, hipGraph_t child);
hipError_t hipGraphAddDependencies(hipGraph_t graph, const hipGraphNode_t *from, const hipGraphNode_t *to, size_t count);
hipError_t hipGraphGetNodes(hipGraph_t graph, hipGraphNode_t *nodes, size_t *count);
hipError_t hipGraphGetRootNodes(hipGraph_t graph, hipGraphNode_t *nodes, size_t *count);
hipError_t hipGraphGetEdges(hipGraph_t graph, hipGraphNode_t *from, hipGraphNode_t *to, size_t *count);
hipError_t hipGraphNodeGetType(hipGraphNode_t node, int *type);
hipError_t hipGraphNodeFindInClone(hipGraphNode_t *node, hipGraphNode_t original, hipGraph_t clone);
hipError_t hipGraphNodeSetEnabled(hipGraphExec_t exec, hipGraphNode_t node, unsigned enabled);
hipError_t hipGraphDestroyNode(hipGraphNode_t node);
hipError_t hipGraphKernelNodeGetParams(hipGraphNode_t node, kernel_params *params);
hipError_t hipGraphKernelNodeSetParams(hipGraphNode_t node, const kernel_params *params);
hipError_t hipGraphExecKernelNodeSetParams(hipGraphExec_t exec, hipGraphNode_t node, const kernel_params *params);

static kernel_params counting(uint64_t **counter, uint64_t *add, void **storage) {
    dim3 one = {1, 1, 1};
    storage[0] = counter;
    storage[1] = add;
    kernel_params params = {one, NULL, kernel("counter"), one, storage, 0};
    return params;
}

static int hosted;

static void note(void *data) { hosted += (int)(intptr_t)data; }

static void graphs_built_of_nodes(void) {
    hipStream_t s = stream_of(0);
    uint64_t *p = device(32), add = 5, copy = 0, *two = p + 1;
    hipGraph_t graph, clone;
    hipGraphNode_t set, first, second, host, back, empty, record, found;
    hipEvent_t event;
    void *a[2], *b[2];
    OK(hipEventCreate(&event));
    OK(hipGraphCreate(&graph, 0));
    memset_params zero = {p, 4, 1, 0, 0, 2};
    kernel_params one = counting(&p, &add, a), other = counting(&two, &add, b);
    host_params call = {note, (void *)1};
    /* Added back to front: only the edges say the order. */
    OK(hipGraphAddMemcpyNode1D(&back, graph, NULL, 0, &copy, p, 8, hipMemcpyDeviceToHost));
    OK(hipGraphAddKernelNode(&first, graph, NULL, 0, &one));
    OK(hipGraphAddMemsetNode(&set, graph, NULL, 0, &zero));
    OK(hipGraphAddKernelNode(&second, graph, &set, 1, &other));
    hipGraphNode_t both[] = {first, second};
    OK(hipGraphAddHostNode(&host, graph, both, 2, &call));
    OK(hipGraphAddEmptyNode(&empty, graph, &host, 1));
    OK(hipGraphAddEventRecordNode(&record, graph, &empty, 1, event));
    hipGraphNode_t from[] = {set, first}, to[] = {first, back};
    OK(hipGraphAddDependencies(graph, from, to, 2));
    IS(hipGraphAddDependencies(graph, from, to, 1), 1); /* twice */
    hipGraphNode_t stranger = (hipGraphNode_t)0x1230;
    IS(hipGraphAddEmptyNode(&empty, graph, &stranger, 1), 1);
    size_t count = 0;
    OK(hipGraphGetNodes(graph, NULL, &count));
    TRUE(count == 7);
    OK(hipGraphGetEdges(graph, NULL, NULL, &count));
    TRUE(count == 7);
    OK(hipGraphGetRootNodes(graph, NULL, &count));
    TRUE(count == 1);
    OK(hipGraphGetRootNodes(graph, &found, &count));
    TRUE(found == set && count == 1);
    int type;
    OK(hipGraphNodeGetType(set, &type));
    TRUE(type == 2);
    kernel_params read;
    OK(hipGraphKernelNodeGetParams(first, &read));
    TRUE(read.function == one.function && read.block.x == 1);

    hipGraphExec_t exec;
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    OK(hipGraphUpload(exec, s));
    add = 1000; /* the arguments were copied when the node was made */
    for (int i = 1; i <= 3; i++) {
        OK(hipGraphLaunch(exec, s));
        OK(hipEventSynchronize(event));
        OK(hipStreamSynchronize(s));
        TRUE(copy == 5 && p[0] == 5 && p[1] == 5u * (unsigned)i && hosted == i);
    }
    /* New arguments for one node of the executable graph, and one switched off. */
    OK(hipGraphExecKernelNodeSetParams(exec, first, &one));
    OK(hipGraphNodeSetEnabled(exec, host, 0));
    OK(hipGraphLaunch(exec, s));
    OK(hipStreamSynchronize(s));
    TRUE(copy == 1000 && hosted == 3 && p[1] == 20);
    /* The graph itself, changed and taken over. */
    add = 7;
    OK(hipGraphKernelNodeSetParams(first, &one));
    int result = -1;
    OK(hipGraphExecUpdate(exec, graph, NULL, &result));
    TRUE(result == 0);
    OK(hipGraphLaunch(exec, s));
    OK(hipStreamSynchronize(s));
    TRUE(copy == 7);
    OK(hipGraphClone(&clone, graph));
    OK(hipGraphNodeFindInClone(&found, first, clone));
    TRUE(found != first);
    OK(hipGraphDestroyNode(found));
    IS(hipGraphExecUpdate(exec, clone, NULL, &result), 910);
    TRUE(result == 2);
    OK(hipGraphGetNodes(graph, NULL, &count));
    TRUE(count == 7);

    /* As a part of another graph. */
    hipGraph_t outer;
    hipGraphNode_t child;
    OK(hipGraphCreate(&outer, 0));
    OK(hipGraphAddChildGraphNode(&child, outer, NULL, 0, graph));
    OK(hipGraphExecDestroy(exec));
    OK(hipGraphDestroy(graph));
    OK(hipGraphInstantiate(&exec, outer, NULL, NULL, 0));
    copy = 0;
    OK(hipGraphLaunch(exec, s));
    OK(hipStreamSynchronize(s));
    TRUE(copy == 7 && hosted == 4);
    IS(hipGraphGetNodes(graph, NULL, &count), 1);
    hipGraphNode_t loop[] = {child};
    IS(hipGraphAddDependencies(outer, loop, loop, 1), 1);
}

static void event_nodes_wait_and_record(void) {
    hipStream_t a = stream_of(hipStreamNonBlocking), b = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8), add = 1;
    hipEvent_t before;
    hipGraph_t graph;
    hipGraphExec_t exec;
    hipGraphNode_t wait, node;
    void *storage[2];
    OK(hipEventCreate(&before));
    OK(hipGraphCreate(&graph, 0));
    OK(hipGraphAddEventWaitNode(&wait, graph, NULL, 0, before));
    kernel_params params = counting(&p, &add, storage);
    OK(hipGraphAddKernelNode(&node, graph, &wait, 1, &params));
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    spin(20, a);
    OK(hipEventRecord(before, a));
    double start = now_ms();
    OK(hipGraphLaunch(exec, b));
    OK(hipStreamSynchronize(b));
    TRUE(*p == 1 && now_ms() - start > 15);
}

static void captures_end_as_the_rules_say(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking), t = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    hipGraph_t graph;
    hipEvent_t fork, outside;
    int status;
    OK(hipEventCreate(&fork));
    OK(hipEventCreate(&outside));
    OK(hipEventRecord(outside, t));
    /* A fork that does not come back. */
    OK(hipStreamBeginCapture(s, 0));
    OK(hipEventRecord(fork, s));
    OK(hipStreamWaitEvent(t, fork, 0));
    count(p, 1, t);
    IS(hipStreamEndCapture(t, &graph), 903);
    IS(hipStreamEndCapture(s, &graph), 904);
    TRUE(graph == NULL);
    OK(hipStreamIsCapturing(t, &status));
    TRUE(status == 0);
    /* A query is not allowed. */
    OK(hipStreamBeginCapture(s, 0));
    IS(hipStreamQuery(s), 900);
    OK(hipStreamIsCapturing(s, &status));
    TRUE(status == 2);
    IS(hipStreamEndCapture(s, &graph), 901);
    /* Nor asking about an event of the capture. */
    OK(hipStreamBeginCapture(s, 0));
    OK(hipEventRecord(fork, s));
    IS(hipEventQuery(fork), 907);
    IS(hipStreamEndCapture(s, &graph), 901);
    /* Nor waiting for what is outside. */
    OK(hipStreamBeginCapture(s, 0));
    IS(hipStreamWaitEvent(s, outside, 0), 905);
    IS(hipStreamEndCapture(s, &graph), 901);
    /* Nor making one capture of two. */
    OK(hipStreamBeginCapture(s, 0));
    OK(hipStreamBeginCapture(t, 0));
    OK(hipEventRecord(fork, s));
    IS(hipStreamWaitEvent(t, fork, 0), 902);
    IS(hipStreamEndCapture(s, &graph), 901);
    IS(hipStreamEndCapture(t, &graph), 901);
    IS(hipStreamEndCapture(t, &graph), 401);
    OK(hipDeviceSynchronize());
    TRUE(*p == 0);
}

static void captured_edges_are_those_of_the_streams(void) {
    hipStream_t s = stream_of(hipStreamNonBlocking), t = stream_of(hipStreamNonBlocking);
    uint64_t *p = device(8);
    hipGraph_t graph, into;
    hipGraphExec_t exec;
    hipEvent_t fork, join, external;
    hipGraphNode_t from[8], to[8];
    const hipGraphNode_t *after;
    size_t edges = 8, waits;
    int status;
    OK(hipEventCreate(&fork));
    OK(hipEventCreate(&join));
    OK(hipEventCreate(&external));
    OK(hipGraphCreate(&into, 0));
    OK(hipStreamBeginCaptureToGraph(s, into, NULL, NULL, 0, 0));
    count(p, 1, s);
    OK(hipEventRecord(fork, s));
    OK(hipStreamWaitEvent(t, fork, 0));
    count(p, 10, t);
    count(p, 100, s);
    OK(hipEventRecord(join, t));
    OK(hipStreamWaitEvent(s, join, 0));
    OK(hipStreamGetCaptureInfo_v2(s, &status, NULL, NULL, &after, &waits));
    TRUE(status == 1 && waits == 2);
    OK(hipEventRecordWithFlags(external, s, 1));
    OK(hipStreamEndCapture(s, &graph));
    TRUE(graph == into);
    OK(hipGraphGetEdges(graph, from, to, &edges));
    TRUE(edges == 4); /* a diamond */
    OK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    OK(hipGraphLaunch(exec, t));
    OK(hipEventSynchronize(external));
    TRUE(*p == 111);
}

static const struct test_case cases[] = {
    CASE(graphs_built_of_nodes),
    CASE(event_nodes_wait_and_record),
    CASE(captures_end_as_the_rules_say),
    CASE(captured_edges_are_those_of_the_streams),
};

int main(int argc, char **argv) { return run_case(cases, sizeof cases / sizeof *cases, argc, argv); }
