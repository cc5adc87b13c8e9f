#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <vector>

#include "app/processes.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

// MPI counts in int: calls work(data, bytes) for x in pieces.
template <class Work>
void in_pieces(Tensor x, const Work& work) {
  constexpr size_t kMost = size_t{1} << 30;
  auto* bytes = static_cast<char*>(x.raw());
  for (size_t done = 0; done < x.bytes(); done += kMost)
    work(bytes + done, static_cast<int>(std::min(kMost, x.bytes() - done)));
}

}  // namespace

struct Processes::Impl {
  std::vector<MPI_Request> sums;
  int exceptions = std::uncaught_exceptions();
};

Processes::Processes(const World& world) : world_(world) {
  if (alone()) return;
  int level = 0, size = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);  // errors of MPI end the job: its default
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  UVIC_CHECK(size == world.size, "the launcher started ", world.size, " processes, MPI sees ", size,
             ": it is not the launcher of the MPI that uvic was built with");
  impl_ = std::make_unique<Impl>();
}

Processes::~Processes() {
  if (impl_ && std::uncaught_exceptions() == impl_->exceptions) MPI_Finalize();
}

int Processes::threads() const {
  if (alone()) return 0;
  MPI_Comm machine;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  int neighbours = 0;
  MPI_Comm_size(machine, &neighbours);
  cpu_set_t own;
  if (sched_getaffinity(0, sizeof own, &own) != 0) CPU_ZERO(&own);
  std::vector<cpu_set_t> all(static_cast<size_t>(neighbours));
  MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, machine);
  MPI_Comm_free(&machine);
  // A launcher that binds processes to cores has divided them already.
  const auto sharers =
      std::count_if(all.begin(), all.end(), [&](const cpu_set_t& other) { return CPU_EQUAL(&own, &other); });
  return std::max(1, CPU_COUNT(&own) / static_cast<int>(sharers));
}

void Processes::begin_sum(Tensor x) {
  if (alone()) return;
  int ignored = 0;  // MPI moves data only while it is called
  MPI_Testall(static_cast<int>(impl_->sums.size()), impl_->sums.data(), &ignored, MPI_STATUSES_IGNORE);
  MPI_Iallreduce(MPI_IN_PLACE, x.data<float>(), static_cast<int>(x.numel()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD,
                 &impl_->sums.emplace_back());
}

void Processes::finish_sums() {
  if (alone()) return;
  MPI_Waitall(static_cast<int>(impl_->sums.size()), impl_->sums.data(), MPI_STATUSES_IGNORE);
  impl_->sums.clear();
}

void Processes::sum(std::span<double> numbers) const {
  if (alone()) return;
  MPI_Allreduce(MPI_IN_PLACE, numbers.data(), static_cast<int>(numbers.size()), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

bool Processes::any_twice(int number) const {
  if (alone()) return false;
  MPI_Comm machine;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  int neighbours = 0;
  MPI_Comm_size(machine, &neighbours);
  std::vector<int> all(static_cast<size_t>(neighbours));
  MPI_Allgather(&number, 1, MPI_INT, all.data(), 1, MPI_INT, machine);
  MPI_Comm_free(&machine);
  return any(std::count(all.begin(), all.end(), number) > 1);
}

void Processes::copy_from_first(Tensor x) const {
  if (alone()) return;
  in_pieces(x, [](char* data, int bytes) { MPI_Bcast(data, bytes, MPI_BYTE, 0, MPI_COMM_WORLD); });
}

void Processes::copy_from_first(std::span<int64_t> numbers) const {
  if (alone()) return;
  MPI_Bcast(numbers.data(), static_cast<int>(numbers.size()), MPI_INT64_T, 0, MPI_COMM_WORLD);
}

void Processes::gather(Tensor x) const {
  if (alone()) return;
  constexpr size_t kLine = 64;  // what is counted in int here
  const size_t lines = x.bytes() / kLine / static_cast<size_t>(size());
  UVIC_CHECK(lines * kLine * static_cast<size_t>(size()) == x.bytes(), "gather: ", x.shape(), " in ", size(), " parts");
  MPI_Datatype line;
  MPI_Type_contiguous(kLine, MPI_BYTE, &line);
  MPI_Type_commit(&line);
  MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x.raw(), static_cast<int>(lines), line, MPI_COMM_WORLD);
  MPI_Type_free(&line);
}

void Processes::send(Tensor x, int to) const {
  in_pieces(x, [to](char* data, int bytes) { MPI_Send(data, bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD); });
}

void Processes::receive(Tensor x, int from) const {
  in_pieces(x, [from](char* data, int bytes) {
    MPI_Recv(data, bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  });
}

}  // namespace uvic
