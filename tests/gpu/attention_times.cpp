// Times attention on the first GPU, in the records of tests/bench/uvic_torch.py, so that a ratio is one division. Needs
// no package: it runs where uvic-bench cannot be built.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "kernels/ops/attention.h"
#include "kernels/ops/pointwise.h"

namespace uvic {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Median seconds of f, three warm-up calls not counted. A sample is several calls, so that the wait at its end, which
// the host has to make, is a small part of it.
double timed(Device device, const std::function<void()>& f) {
  constexpr int kCalls = 10, kSamples = 15;
  for (int i = 0; i < 3; ++i) f();
  std::vector<double> seconds;
  for (int i = 0; i < kSamples; ++i) {
    synchronize(device);
    const double start = now();
    for (int j = 0; j < kCalls; ++j) f();
    synchronize(device);
    seconds.push_back((now() - start) / kCalls);
  }
  std::nth_element(seconds.begin(), seconds.begin() + kSamples / 2, seconds.end());
  return seconds[kSamples / 2];
}

void time_attention(AttentionKind kind, int64_t B, int64_t H, int64_t L, int64_t D) {
  const Device device{DeviceKind::cuda, 0};
  Context ctx({.device = device});
  const OwnedTensor qkv(device, DType::bf16, {B, L, 3, H, D}), dqkv(device, DType::bf16, {B, L, 3, H, D});
  const OwnedTensor o(device, DType::bf16, {B, L, H, D}), grad_o(device, DType::bf16, {B, L, H, D});
  const OwnedTensor stat(device, DType::f32, {B, H, L});
  uint32_t draw = 0;
  for (const Tensor& t : {qkv.tensor, grad_o.tensor}) {  // zeros would run faster than data
    const OwnedTensor noise(device, DType::f32, {1, t.numel()});
    const RandomKey key{1, ++draw, Stream::initial_noise, 0};
    random_normal(ctx, {&key, 1}, noise.tensor);
    cast(ctx, noise.tensor.view(t.shape()), t);
    synchronize(device);
  }
  const AttentionArgs args{.qkv = qkv.tensor, .kind = kind};
  const auto forward = [&] { attention_forward(ctx, args, o.tensor, stat.tensor); };
  const auto both = [&] {
    forward();
    attention_backward(ctx, args, o.tensor, stat.tensor, grad_o.tensor, dqkv.tensor);
  };
  const double one = timed(device, forward), two = timed(device, both);
  const double flops = 4.0 * static_cast<double>(B * H * L * L * D);
  std::printf(
      "{\"what\": \"attention\", \"kind\": \"%s\", \"dtype\": \"bf16\", \"shape\": [%ld, %ld, %ld, %ld], "
      "\"forward_s\": %.4g, \"forward_tflops\": %.4g, \"both_s\": %.4g, \"both_tflops\": %.4g}\n",
      name_of(kind), B, H, L, D, one, flops / one / 1e12, two, 3.5 * flops / two / 1e12);
  std::fflush(stdout);
}

}  // namespace
}  // namespace uvic

int main() {
  using namespace uvic;
  if (gpu_count() == 0) {
    std::puts("skipped: no device");
    return 0;
  }
  try {
    for (const AttentionKind kind : {AttentionKind::cog, AttentionKind::softmax, AttentionKind::expressive}) {
      time_attention(kind, 64, 16, 257, 64);
      time_attention(kind, 128, 8, 334, 64);
      time_attention(kind, 16, 16, 1025, 64);
      time_attention(kind, 4, 16, 4096, 64);
    }
  } catch (const Error& e) {
    std::fprintf(stderr, "attention_times: error: %s\n%s\n", e.what(), e.hint().c_str());
    return 1;
  }
}
