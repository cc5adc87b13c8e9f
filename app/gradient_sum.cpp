#include "app/gradient_sum.h"

#include <algorithm>
#include <array>
#include <bit>

#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

// 4 MB: many buckets in a small model's backward already, each far above what starting a sum costs.
constexpr int64_t kBucket = 1 << 20;
// 64 MB: what passes through the host's memory at a time.
constexpr int64_t kPiece = 1 << 24;

// Null where MPI has to do. All processes come to the same answer.
std::unique_ptr<GpuGroup> join_gpus(Context& ctx, const Processes& processes) {
  const bool on_gpu = ctx.device().kind == DeviceKind::cuda && GpuGroup::available();
  if (processes.alone() || processes.any(!on_gpu) || processes.any_twice(ctx.device().index)) return nullptr;
  std::array<int64_t, sizeof(GpuGroup::Id) / sizeof(int64_t)> words{};
  if (processes.first()) words = std::bit_cast<decltype(words)>(GpuGroup::make_id());
  processes.copy_from_first(words);
  return std::make_unique<GpuGroup>(ctx, std::bit_cast<GpuGroup::Id>(words), processes.rank(), processes.size());
}

}  // namespace

GradientSum::GradientSum(Context& ctx, Processes& processes, Tensor gradients)
    : ctx_(ctx), processes_(processes), gradients_(gradients) {
  summed_.tensor = gradients;
  if ((gpus_ = join_gpus(ctx, processes))) return;
  const Device host = host_memory_for(ctx.device());
  if (!processes.alone() && host != ctx.device()) summed_ = OwnedTensor(host, DType::f32, gradients.shape());
}

void GradientSum::done(int64_t begin, int64_t end) {
  if (begin_ == end_) end_ = end;
  begin_ = begin;
  if (end_ - begin_ >= kBucket) send();
}

void GradientSum::send() {
  if (begin_ < end_ && gpus_) {
    gpus_->begin_sum(gradients_.rows(begin_, end_));
  } else if (begin_ < end_) {
    const Tensor bucket = summed_.tensor.rows(begin_, end_);
    download(ctx_, gradients_.rows(begin_, end_), bucket);
    processes_.begin_sum(bucket);
  }
  end_ = begin_;
}

void GradientSum::finish() {
  send();
  begin_ = end_ = 0;
  if (gpus_) return gpus_->finish_sums();
  processes_.finish_sums();
  upload(ctx_, summed_.tensor, gradients_);
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
