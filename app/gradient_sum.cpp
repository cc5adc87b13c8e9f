#include "app/gradient_sum.h"

namespace uvic {
namespace {

// 4 MB: many buckets in a small model's backward already, each far above what starting a sum costs.
constexpr int64_t kBucket = 1 << 20;

}  // namespace

void GradientSum::done(int64_t begin, int64_t end) {
  if (begin_ == end_) end_ = end;
  begin_ = begin;
  if (end_ - begin_ >= kBucket) send();
}

void GradientSum::send() {
  if (begin_ < end_) processes_.begin_sum(gradients_.rows(begin_, end_));
  end_ = begin_;
}

void GradientSum::finish() {
  send();
  processes_.finish_sums();
}

}  // namespace uvic
