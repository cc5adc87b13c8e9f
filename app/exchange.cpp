#include "app/exchange.h"

#include <algorithm>
#include <array>
#include <bit>

#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

// 64 MB of f32: what copy_from_first() takes through the host's memory at a time.
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

Exchange::Exchange(Context& ctx, Processes& processes)
    : ctx_(ctx), processes_(processes), gpus_(join_gpus(ctx, processes)) {}

void Exchange::gather(Tensor x) {
  if (gpus_) return gpus_->gather(x);
  if (ctx_.device().kind == DeviceKind::cpu) return processes_.gather(x);
  // Kept, since it is needed every step; download() has waited for the copy of the last one by then.
  if (staged_.tensor.shape() != x.shape() || staged_.tensor.dtype() != x.dtype())
    staged_ = OwnedTensor(host_memory_for(ctx_.device()), x.dtype(), x.shape());
  const int64_t part = x.numel() / processes_.size(), begin = part * processes_.rank();
  download(ctx_, x.rows(begin, begin + part), staged_.tensor.rows(begin, begin + part));
  processes_.gather(staged_.tensor);
  upload(ctx_, staged_.tensor, x);
}

void Exchange::copy_from_first(Tensor x) const {
  for (int64_t begin = 0; begin < x.numel(); begin += kPiece) {
    const Tensor piece = x.rows(begin, std::min(begin + kPiece, x.numel()));
    const OwnedTensor host = on_host(ctx_, piece);
    processes_.copy_from_first(host.tensor);
    upload(ctx_, host.tensor, piece);
  }
}

}  // namespace uvic
