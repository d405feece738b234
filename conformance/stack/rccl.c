/* RCCL: all-reduce over two devices of one process. */
#include "stack.h"

int ncclCommInitAll(void **comms, int count, const int *devices);
int ncclGroupStart(void);
int ncclGroupEnd(void);
int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, void *comm, hipStream_t stream);
int ncclCommDestroy(void *comm);

int main(void) {
    enum { Devices = 2, Count = 4096, Float = 7, Sum = 0 };
    void *comms[Devices], *from[Devices], *to[Devices];
    hipStream_t streams[Devices];
    for (int d = 0; d < Devices; d++) {
        OK(hipSetDevice(d));
        from[d] = zeros(Count * 4), to[d] = zeros(Count * 4);
        streams[d] = own_stream();
    }
    OK(ncclCommInitAll(comms, Devices, NULL));
    for (int i = 0; i < 10; i++) {
        OK(ncclGroupStart());
        for (int d = 0; d < Devices; d++) OK(ncclAllReduce(from[d], to[d], Count, Float, Sum, comms[d], streams[d]));
        OK(ncclGroupEnd());
    }
    for (int d = 0; d < Devices; d++) {
        OK(hipSetDevice(d));
        OK(hipStreamSynchronize(streams[d]));
    }
    for (int d = 0; d < Devices; d++) OK(ncclCommDestroy(comms[d]));
    return done();
}
