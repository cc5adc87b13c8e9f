#pragma once

#include <memory>

#include "kernels/core/context.h"

namespace uvic {

// Brings what the host has made to ctx's device, by a stream of its own and to two places that take turns: while ctx
// computes with one load, the next is copied. The host waits for neither. On a CPU nothing moves.
class Feed {
 public:
  // ctx must outlive this.
  explicit Feed(Context& ctx) : ctx_(ctx) {}

  // Where a load should lie on the host.
  Device host() const { return host_memory_for(ctx_.device()); }
  // Begins a load. That of the turn before the last one is overwritten, once ctx's work up to here is done.
  void turn();
  // from, in memory of host(), where ops of ctx can read it. It must stay as it is until these are done.
  Tensor take(Tensor from);
  // What ctx is given from now on comes after the copies of this load.
  void join();

 private:
  Context& ctx_;
  std::shared_ptr<void> copies_;  // the backend's, made on first use
};

}  // namespace uvic
