#pragma once

#include <memory>

#include "kernels/cpu/matmul.h"

namespace uvic::cpu {

// The CPU backend's state: what is expensive to make and depends on shapes only. Reached through
// ctx.backend_state<Plans>(). plan.cpp makes products with oneDNN, plan_plain.cpp with loops where oneDNN is absent.
class Plans {
 public:
  explicit Plans(Context& ctx);
  ~Plans();

  // m without a2 and pre; residual may also be f32. Same bits on every run at the same number of threads.
  void product(const Matmul& m);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic::cpu
