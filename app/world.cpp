#include "app/world.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "kernels/core/error.h"

namespace uvic {
namespace {

// -1 if it is not set.
int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text) return -1;
  const std::string value = text;
  UVIC_CHECK(!value.empty() && value.size() < 8 && value.find_first_not_of("0123456789") == std::string::npos, variable,
             " is '", value, "', not a number of processes");
  return std::stoi(value);
}

}  // namespace

World world_from_environment() {
  // srun's: a batch script that runs without it has a SLURM_PROCID, too, but no step.
  constexpr const char* kVariables[][3] = {
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
      {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},
      {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"}};
  for (const auto& [rank_name, size_name, local_name] : kVariables) {
    const World world{number_in(rank_name), number_in(size_name), std::max(0, number_in(local_name))};
    if (world.rank < 0 || world.size < 0) continue;
    UVIC_CHECK(world.rank < world.size, rank_name, " is ", world.rank, " of ", size_name, " ", world.size);
    return world;
  }
  return {};
}

}  // namespace uvic
