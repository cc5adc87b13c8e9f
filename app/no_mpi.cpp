// Stands where processes_mpi.cpp would be: one process is all there is.

#include "app/processes.h"
#include "kernels/core/error.h"

namespace uvic {

struct Processes::Impl {};

Processes::Processes(const World& world) : world_(world) {
  if (!alone())
    throw Error("this uvic was built without MPI: it trains in one process",
                "install libopenmpi-dev and build again with UVIC_MPI=ON");
}
Processes::~Processes() = default;

int Processes::threads() const { return 0; }
void Processes::begin_sum(Tensor) {}
void Processes::finish_sums() {}
void Processes::sum(std::span<double>) const {}
bool Processes::any_twice(int) const { return false; }
void Processes::copy_from_first(Tensor) const {}
void Processes::copy_from_first(std::span<int64_t>) const {}
void Processes::gather(Tensor) const {}
void Processes::send(Tensor, int) const {}
void Processes::receive(Tensor, int) const {}

}  // namespace uvic
