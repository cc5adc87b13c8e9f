#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/ops/pointwise.h"

// What a training step adds to the network: noise, draws of latents, and the loss.
namespace uvic::cuda {
namespace {

struct Noising {
  const float *x0, *eps, *alpha, *sigma;
  int64_t n;
  float* x_t;
  __device__ void operator()(int64_t i) const { x_t[i] = alpha[i / n] * x0[i] + sigma[i / n] * eps[i]; }
};

struct SamplePosterior {
  const float *moments, *noise;
  float scale;
  int64_t n;
  float* z;
  __device__ void operator()(int64_t i) const {
    const float* mean = moments + i / n * 2 * n + i % n;
    z[i] = scale * (mean[0] + expf(0.5f * fminf(fmaxf(mean[n], -30.0f), 20.0f)) * noise[i]);
  }
};

// mse_kernel: one block an image. Sums in double.
__global__ void __launch_bounds__(kThreads)
    mse_kernel(const float* pred, const float* target, const float* weight, int64_t n, float* loss, float* dpred) {
  const int64_t b = blockIdx.x;
  pred += b * n;
  target += b * n;
  const double w = weight ? static_cast<double>(weight[b]) : 1.0;
  const float slope = static_cast<float>(w * 2 / (static_cast<double>(gridDim.x) * static_cast<double>(n)));
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float e = pred[i] - target[i];
    sum += static_cast<double>(e) * static_cast<double>(e);
    if (dpred) dpred[b * n + i] = slope * e;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[b] = static_cast<float>(sum / static_cast<double>(n));
}

}  // namespace

void noising(Context& ctx, Tensor x0, Tensor eps, Tensor alpha, Tensor sigma, Tensor x_t) {
  const int64_t n = x0.numel() / std::max<int64_t>(x0.dim(0), 1);
  for_each(
      ctx, x0.numel(),
      Noising{x0.data<float>(), eps.data<float>(), alpha.data<float>(), sigma.data<float>(), n, x_t.data<float>()});
}

void sample_posterior(Context& ctx, Tensor moments, Tensor noise, double scale, Tensor z) {
  const int64_t n = z.numel() / std::max<int64_t>(z.dim(0), 1);
  for_each(ctx, z.numel(),
           SamplePosterior{moments.data<float>(), noise.data<float>(), static_cast<float>(scale), n, z.data<float>()});
}

void mse(Context& ctx, Tensor pred, Tensor target, Tensor weight, Tensor loss, Tensor dpred) {
  const int64_t B = pred.dim(0);
  launch(ctx, {static_cast<unsigned>(B)}, mse_kernel, pred.data<float>(), target.data<float>(),
         weight ? weight.data<float>() : nullptr, pred.numel() / B, loss.data<float>(),
         dpred ? dpred.data<float>() : nullptr);
}

}  // namespace uvic::cuda
