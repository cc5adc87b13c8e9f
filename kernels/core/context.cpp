#include "kernels/core/context.h"

#include <sched.h>

#include <algorithm>
#include <utility>

namespace uvic {
namespace {

int available_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

}  // namespace

const char* name_of(Isa isa) { return isa == Isa::amx ? "amx" : isa == Isa::avx512 ? "avx512" : "avx2"; }

Context::Context(const ContextOptions& options) : options_(options), arena_(options.device) {
  UVIC_CHECK(options.device.kind != DeviceKind::pinned, "pinned memory is no device to run on");
  UVIC_CHECK(options.threads >= 0, "threads must be 0 (one per core) or more, got ", options.threads);
  UVIC_CHECK(options.isa <= best_isa(), "this processor has no ", name_of(options.isa), ", only ", name_of(best_isa()));
  if (options_.threads == 0) options_.threads = available_cores();
}

Context::Scope::Scope(Context& ctx, std::string_view name, Keep keep)
    : ctx_(ctx), parent_length_(ctx.path_.size()), mark_(ctx.arena_.mark()), keep_(keep) {
  if (!ctx.path_.empty()) ctx.path_ += '/';
  ctx.path_ += name;
  if (!ctx.profiling_) return;
  synchronize(ctx.device());  // a GPU works behind the host's back: the time of a scope is that of its own work
  start_ = std::chrono::steady_clock::now();
}

Context::Scope::~Scope() {
  const bool unwinding = std::uncaught_exceptions() > exceptions_;
  if (unwinding && ctx_.failed_scope_.empty()) ctx_.failed_scope_ = ctx_.path_;
  if (ctx_.profiling_ && !unwinding) {
    try {
      synchronize(ctx_.device());
    } catch (const Error&) {  // who next asks the device will hear of it
    }
    Timing& t = ctx_.timings_[ctx_.path_];
    t.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    ++t.calls;
  }
  ctx_.path_.resize(parent_length_);
  if (keep_ == Keep::none || unwinding) ctx_.arena_.rewind(mark_);
}

std::string Context::take_failed_scope() { return std::exchange(failed_scope_, {}); }

}  // namespace uvic
