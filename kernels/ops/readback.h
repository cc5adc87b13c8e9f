#pragma once

#include <memory>

#include "kernels/core/context.h"

namespace uvic {

// Numbers on their way to the host, which goes on meanwhile.
class Readback {
 public:
  // For so many bytes. ctx must outlive this.
  Readback(Context& ctx, size_t bytes);
  ~Readback();  // waits: what is copied to must not be given to others before
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  // A copy of t, on ctx's device, as it is when ctx's work so far is done; to be read after wait().
  Tensor add(Tensor t);
  // Waits for all that was added, and for nothing that ctx was given later.
  void wait();

 private:
  Context& ctx_;
  Buffer host_;
  size_t used_ = 0;
  std::shared_ptr<void> arrived_;  // the backend's, made on first use
};

}  // namespace uvic
