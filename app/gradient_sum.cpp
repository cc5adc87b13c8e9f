#include "app/gradient_sum.h"

#include "kernels/ops/transfer.h"

namespace uvic {
namespace {

// 4 MB: many buckets in a small model's backward already, each far above what starting a sum costs.
constexpr int64_t kBucket = 1 << 20;

}  // namespace

GradientSum::GradientSum(Exchange& exchange, Tensor gradients) : exchange_(exchange), gradients_(gradients) {
  summed_.tensor = gradients;
  const Device own = exchange.ctx().device(), host = host_memory_for(own);
  if (exchange.gpus() || exchange.processes().alone() || host == own) return;
  summed_ = OwnedTensor(host, DType::f32, gradients.shape());
}

void GradientSum::done(int64_t begin, int64_t end) {
  if (begin_ == end_) end_ = end;
  begin_ = begin;
  if (end_ - begin_ >= kBucket) send();
}

void GradientSum::send() {
  if (begin_ < end_ && exchange_.gpus()) {
    exchange_.gpus()->begin_sum(gradients_.rows(begin_, end_));
  } else if (begin_ < end_) {
    const Tensor bucket = summed_.tensor.rows(begin_, end_);
    download(exchange_.ctx(), gradients_.rows(begin_, end_), bucket);
    exchange_.processes().begin_sum(bucket);
  }
  end_ = begin_;
}

void GradientSum::finish() {
  send();
  begin_ = end_ = 0;
  if (exchange_.gpus()) return exchange_.gpus()->finish_sums();
  exchange_.processes().finish_sums();
  upload(exchange_.ctx(), summed_.tensor, gradients_);
}

}  // namespace uvic
