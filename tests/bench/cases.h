#pragma once

// What the benchmarks share: the networks whose shapes they run at, what a case is, and how it is timed and reported.

#include <functional>
#include <string>
#include <vector>

#include "kernels/core/context.h"
#include "model/config.h"

namespace uvic {

struct Network {
  std::string name;  // as uvic-bench --model has it
  UViCConfig config;
};
// mini, mini4, S2, M4, L2, H2 and T2: every width and head width that is shipped, images and latents, label and text.
const std::vector<Network>& networks();
constexpr int64_t kBatch = 8;

const std::vector<DType>& working_dtypes();  // bf16, f32
const std::vector<DType>& f32_only();        // for ops that take nothing else
const std::vector<Isa>& all_isas();          // that this processor has
const std::vector<Isa>& vector_isas();       // those with a copy of their own of the ops that do not use AMX
const std::vector<Isa>& best_isa_only();     // for ops with one copy

// A case: run does the work once on tensors that the job owns.
class Job {
 public:
  Tensor random(DType dtype, Shape shape, double size = 1);  // uniform in [-size, size); zeros draw less power
  Tensor zeros(DType dtype, Shape shape);
  size_t bytes_owned() const { return owned_; }

  std::function<void()> run;
  // The work of one run: what bounds it has to be given. bytes: each element read or written once.
  double flop = 0, bytes = 0;
  DType arithmetic = DType::f32;  // of flop, for the peak
  std::string label;              // the shape

 private:
  std::vector<OwnedTensor> tensors_;
  size_t owned_ = 0;
};
// Leaves job.run empty where the case does not fit in memory.
using MakeJob = std::function<void(Context&, const UViCConfig&, DType, Job&)>;

// Registers a case for each network, dtype and instruction set, "<op>/<network>/<dtype>/<isa>" with "/1_thread" behind
// it if so. Reports FLOP or bytes a second, and share_%: of peak_flops, or of peak_bandwidth for memory of the size of
// the job's tensors.
void register_cases(const std::string& op, const std::vector<Network>& networks, const std::vector<DType>& dtypes,
                    const std::vector<Isa>& isas, const MakeJob& make, int threads = 0);

}  // namespace uvic
