#pragma once

#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/core/arena.h"

namespace uvic {

// Instruction sets of the CPU backend, each containing those before it.
enum class Isa : uint8_t { avx2, avx512, amx };
const char* name_of(Isa isa);
Isa best_isa();        // what this processor and operating system offer
bool has_fast_bf16();  // bf16 products in hardware (AMX or AVX512-BF16): what --dtype auto asks

struct ContextOptions {
  Device device;
  int threads = 0;       // 0: one per available core
  Isa isa = best_isa();  // CPU only; asking for more than best_isa() is an error
  // GPU only: the folder that keeps which algorithm was fastest when a shape of matrix products first came. Empty:
  // nothing is timed, the library guesses. Either way a Context never changes its mind.
  std::string timed_plans = {};
};

// Whether what was allocated inside a scope outlives it (training keeps activations for backward) or is rewound.
enum class Keep : uint8_t { none, all };

// What every op receives: where to run, where temporaries live, and what the current step is called. Not thread-safe;
// one Context drives one device.
class Context {
 public:
  explicit Context(const ContextOptions& options = {});

  Device device() const { return options_.device; }
  int threads() const { return options_.threads; }
  Isa isa() const { return options_.isa; }
  const std::string& timed_plans() const { return options_.timed_plans; }
  Arena& arena() { return arena_; }

  Tensor empty(DType dtype, Shape shape) { return arena_.tensor(dtype, shape); }  // from the arena, undefined contents
  Tensor like(const Tensor& t) { return arena_.tensor(t.dtype(), t.shape()); }

  // Names what runs until the Scope ends: for errors, the profile, and the lifetime of temporaries.
  class Scope {
   public:
    Scope(Context& ctx, std::string_view name, Keep keep);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Context& ctx_;
    size_t parent_length_;
    Arena::Mark mark_;
    Keep keep_;
    int exceptions_ = std::uncaught_exceptions();
    std::chrono::steady_clock::time_point start_;
  };
  [[nodiscard]] Scope scope(std::string_view name, Keep keep = Keep::none) { return Scope(*this, name, keep); }

  // The innermost scope that an exception has left since the last call ("" if none): the second line of an error.
  std::string take_failed_scope();

  struct Timing {
    double seconds = 0;
    int64_t calls = 0;
  };
  void set_profiling(bool on) { profiling_ = on; }
  bool profiling() const { return profiling_; }
  const std::map<std::string, Timing>& timings() const { return timings_; }  // by full scope path
  void clear_timings() { timings_.clear(); }

  // The backend's own state (plans, handles), made on first use and destroyed with the Context. One type a device.
  template <class T>
  T& backend_state() {
    if (!state_) state_ = std::make_shared<T>(*this);
    return *static_cast<T*>(state_.get());
  }

 private:
  ContextOptions options_;
  Arena arena_;
  std::string path_;  // "uvic/in.3/attn"
  std::string failed_scope_;
  bool profiling_ = false;
  std::map<std::string, Timing> timings_;
  std::shared_ptr<void> state_;
};

}  // namespace uvic
