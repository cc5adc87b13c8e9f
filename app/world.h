#pragma once

namespace uvic {

// The processes that a program was started as, by mpirun (Open MPI, MPICH) or srun; one, if it was started by itself.
struct World {
  int rank = 0, size = 1;
};
World world_from_environment();

}  // namespace uvic
