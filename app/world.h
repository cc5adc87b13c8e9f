#pragma once

namespace uvic {

// The processes that a program was started as, by mpirun (Open MPI, MPICH) or srun; one, if it was started by itself.
struct World {
  int rank = 0, size = 1;
  int local_rank = 0;  // among those of the same machine
};
World world_from_environment();

}  // namespace uvic
