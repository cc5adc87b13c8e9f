#include "nccl.h"

#include <mpi.h>

#include "queue.h"

using namespace emulated_gpu;

struct ncclComm {
  MPI_Comm processes;                                    // its own: NCCL's calls are none of the program's MPI
  std::shared_ptr<void> held = std::make_shared<int>();  // by graphs that recorded its calls, too
};

namespace {

// Where other streams' work waits until somebody waits for it, this is done by each process at the same place of the
// program, or one could wait here for another that waits for it elsewhere.
ncclResult_t together(ncclComm_t comm, cudaStream_t stream, void* to, size_t bytes, std::function<void()> work) {
  const auto hold = lock();
  if (device_of(stream) < 0 || !reaches(device_of(stream), to, bytes)) return ncclInvalidArgument;
  if (enqueue(stream, std::move(work)) != cudaSuccess) return ncclInvalidUsage;
  if (const auto& recording = stream->queue->recording) {
    recording->group = comm->held;
    return ncclSuccess;
  }
  return finish(stream) == cudaSuccess ? ncclSuccess : ncclInvalidUsage;
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t status) {
  switch (status) {
    case ncclSuccess: return "no error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
  }
  return "unknown result code";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId, int rank) {
  int started = 0, mpi_size = 0, mpi_rank = 0;
  MPI_Initialized(&started);
  if (!started) return ncclInvalidUsage;
  MPI_Comm_size(MPI_COMM_WORLD, &mpi_size);
  MPI_Comm_rank(MPI_COMM_WORLD, &mpi_rank);
  if (size != mpi_size || rank != mpi_rank) return ncclInvalidArgument;
  // As NCCL does: no GPU twice. All processes are on this machine.
  int own = current_device();
  std::vector<int> all(static_cast<size_t>(size));
  MPI_Allgather(&own, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
  if (std::set<int>(all.begin(), all.end()).size() != all.size()) return ncclInvalidUsage;
  *comm = new ncclComm;
  MPI_Comm_dup(MPI_COMM_WORLD, &(*comm)->processes);
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  MPI_Comm_free(&comm->processes);
  return ncclCommAbort(comm);
}
// NCCL polls, in both, until the last graph that holds some of its work is gone.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm->held.use_count() > 1) stop("ncclCommDestroy waits for ever: there is a graph that recorded its calls");
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, ncclComm_t comm,
                           cudaStream_t stream) {
  if (type != ncclFloat || from != to) return ncclInvalidArgument;
  return together(comm, stream, to, count * sizeof(float), [=, processes = comm->processes] {
    MPI_Allreduce(MPI_IN_PLACE, to, static_cast<int>(count), MPI_FLOAT, MPI_SUM, processes);
  });
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  if (type != ncclChar || from != to) return ncclInvalidArgument;
  return together(comm, stream, to, count, [=, processes = comm->processes] {
    MPI_Bcast(to, static_cast<int>(count), MPI_CHAR, root, processes);
  });
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  int size = 0, rank = 0;
  MPI_Comm_size(comm->processes, &size);
  MPI_Comm_rank(comm->processes, &rank);
  if (type != ncclChar || from != static_cast<char*>(to) + static_cast<size_t>(rank) * count)
    return ncclInvalidArgument;
  return together(comm, stream, to, count * static_cast<size_t>(size), [=, processes = comm->processes] {
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, to, static_cast<int>(count), MPI_CHAR, processes);
  });
}
