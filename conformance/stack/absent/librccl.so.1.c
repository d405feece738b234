/* In place of an RCCL that Debian has not for the runtime: JAX's plugin is linked with it, and calls it with several devices
 * only. All fails (ncclInternalError), and the texts say why. */
#define ABSENT(name) int nccl##name(void) { return 3; }
ABSENT(AllGather)
ABSENT(AllReduce)
ABSENT(Broadcast)
ABSENT(CommAbort)
ABSENT(CommCount)
ABSENT(CommDeregister)
ABSENT(CommDestroy)
ABSENT(CommGetAsyncError)
ABSENT(CommInitRankConfig)
ABSENT(CommRegister)
ABSENT(CommSplit)
ABSENT(GetUniqueId)
ABSENT(GroupEnd)
ABSENT(GroupStart)
ABSENT(Recv)
ABSENT(ReduceScatter)
ABSENT(Send)
const char *ncclGetErrorString(int status) { return "RCCL is not here"; }
const char *ncclGetLastError(void *comm) { return "RCCL is not here"; }
