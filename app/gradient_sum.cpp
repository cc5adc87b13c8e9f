#include "app/gradient_sum.h"

#include <algorithm>

#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

// 4 MB: many buckets in a small model's backward already, each far above what starting a sum costs.
constexpr int64_t kBucket = 1 << 20;
// 64 MB: what passes through the host's memory at a time.
constexpr int64_t kPiece = 1 << 24;

}  // namespace

GradientSum::GradientSum(Context& ctx, Processes& processes, Tensor gradients)
    : ctx_(ctx), processes_(processes), gradients_(gradients) {
  summed_.tensor = gradients;
  const Device host = host_memory_for(ctx.device());
  if (!processes.alone() && host != ctx.device()) summed_ = OwnedTensor(host, DType::f32, gradients.shape());
}

void GradientSum::done(int64_t begin, int64_t end) {
  if (begin_ == end_) end_ = end;
  begin_ = begin;
  if (end_ - begin_ >= kBucket) send();
}

void GradientSum::send() {
  if (begin_ < end_) {
    const Tensor bucket = summed_.tensor.rows(begin_, end_);
    download(ctx_, gradients_.rows(begin_, end_), bucket);
    processes_.begin_sum(bucket);
  }
  end_ = begin_;
}

void GradientSum::finish() {
  send();
  processes_.finish_sums();
  upload(ctx_, summed_.tensor, gradients_);
  begin_ = end_ = 0;
}

void copy_from_first(Context& ctx, const Processes& processes, Tensor flat) {
  for (int64_t begin = 0; begin < flat.numel(); begin += kPiece) {
    const Tensor piece = flat.rows(begin, std::min(begin + kPiece, flat.numel()));
    const OwnedTensor host = on_host(ctx, piece);
    processes.copy_from_first(host.tensor);
    upload(ctx, host.tensor, piece);
  }
}

}  // namespace uvic
