#include "kernels/ops/transfer.h"

#include <cstring>
#include <utility>

#include "kernels/ops/check.h"

namespace uvic {

namespace cuda {
void upload(Context& ctx, Tensor from, Tensor to);
void download(Context& ctx, Tensor from, Tensor to);
}  // namespace cuda

namespace {

template <class T>
Tensor upload_all(Context& ctx, std::span<const T> values) {
  const Shape shape{static_cast<int64_t>(values.size())};
  const Tensor to = ctx.empty(dtype_of<T>(), shape);
  upload(ctx, Tensor(const_cast<T*>(values.data()), dtype_of<T>(), shape), to);
  return to;
}

// t where ctx runs on the host; else memory of the host like it.
OwnedTensor beside(Context& ctx, Tensor t) {
  if (!on_cpu(ctx)) return OwnedTensor({}, t.dtype(), t.shape());
  OwnedTensor same;
  same.tensor = t;
  return same;
}

}  // namespace

void upload(Context& ctx, Tensor from, Tensor to) {
  if (from.bytes() == 0) return;
  check("upload", "to", to, from.dtype(), from.shape());
  if (from.raw() == to.raw()) return;
  if (!on_cpu(ctx)) return cuda::upload(ctx, from, to);
  std::memcpy(to.raw(), from.raw(), from.bytes());
}

void download(Context& ctx, Tensor from, Tensor to) {
  if (from.bytes() == 0) return;
  check("download", "to", to, from.dtype(), from.shape());
  if (from.raw() == to.raw()) return;
  if (!on_cpu(ctx)) return cuda::download(ctx, from, to);
  std::memcpy(to.raw(), from.raw(), from.bytes());
}

Tensor upload(Context& ctx, std::span<const float> values) { return upload_all(ctx, values); }
Tensor upload(Context& ctx, std::span<const int32_t> values) { return upload_all(ctx, values); }

Tensor on_device(Context& ctx, Tensor from) {
  if (on_cpu(ctx) || from.empty()) return from;
  const Tensor to = ctx.like(from);
  upload(ctx, from, to);
  return to;
}

OwnedTensor on_device(Context& ctx, OwnedTensor from) {
  if (on_cpu(ctx) || from.tensor.empty()) return from;
  OwnedTensor to(ctx.device(), from.tensor.dtype(), from.tensor.shape());
  upload(ctx, from.tensor, to.tensor);
  return to;
}

OwnedTensor on_host(Context& ctx, Tensor t) {
  OwnedTensor to = beside(ctx, t);
  download(ctx, t, to.tensor);
  return to;
}

OwnedTensor host_for(Context& ctx, Tensor t) { return beside(ctx, t); }

}  // namespace uvic
