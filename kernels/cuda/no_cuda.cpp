// Stands where the CUDA backend will be: everything links, and any use says what is missing.

#include <functional>
#include <vector>

#include "kernels/core/memory.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/conv.h"
#include "kernels/ops/feature_map.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/map_conv.h"
#include "kernels/ops/map_norm.h"
#include "kernels/ops/mlp.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/tokens.h"
#include "kernels/ops/transfer.h"
#include "kernels/ops/update.h"
#include "kernels/ops/wide_attention.h"

namespace uvic {

int gpu_count() { return 0; }

}  // namespace uvic

namespace uvic::cuda {
namespace {

[[noreturn]] void absent() {
  throw Error("this uvic was built without CUDA", "use --device cpu, or build it with -DUVIC_CUDA=ON");
}

}  // namespace

void* allocate(int, size_t) { absent(); }
void release(int, void*, size_t) noexcept {}
void* allocate_pinned(int, size_t) { absent(); }
void release_pinned(int, void*, size_t) noexcept {}
void copy(const void*, void*, size_t) { absent(); }
void synchronize(int) { absent(); }
size_t total_memory(int) { absent(); }

void replay(Context&, std::shared_ptr<void>&, const std::vector<int64_t>&, const std::function<void()>&) { absent(); }

void feed_turn(Context&, std::shared_ptr<void>&) { absent(); }
Tensor feed_take(Context&, std::shared_ptr<void>&, Tensor) { absent(); }
void feed_join(Context&, std::shared_ptr<void>&) { absent(); }

void attention_forward(Context&, const AttentionArgs&, Tensor, Tensor) { absent(); }
void attention_backward(Context&, const AttentionArgs&, Tensor, Tensor, Tensor, Tensor) { absent(); }

void linear_forward(Context&, const LinearArgs&, Tensor, Tensor) { absent(); }
void linear_backward(Context&, const LinearBackwardArgs&, Tensor, Tensor, Tensor, Tensor) { absent(); }
OwnedTensor prepack_linear(Context&, Tensor) { absent(); }
OwnedTensor prepack_skip_linear(Context&, Tensor) { absent(); }
void skip_linear_forward(Context&, const SkipLinearArgs&, Tensor) { absent(); }
void skip_linear_backward(Context&, const SkipLinearArgs&, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }

void mlp_forward(Context&, const MlpArgs&, Tensor, Tensor) { absent(); }
void mlp_backward(Context&, const MlpBackwardArgs&, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }

void layernorm_forward(Context&, const LayerNormArgs&, Tensor, Tensor) { absent(); }
void layernorm_backward(Context&, const LayerNormArgs&, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }

void conv2d_forward(Context&, const Conv2dArgs&, Tensor) { absent(); }
void conv2d_backward(Context&, const Conv2dArgs&, Tensor, Tensor, Tensor, Tensor) { absent(); }

FeatureMap make_feature_map(Context&, const MapSize&) { absent(); }
void unfold(Context&, Tensor, const Window&, FeatureMap) { absent(); }
void to_tensor(Context&, const FeatureMap&, Tensor) { absent(); }
void from_tensor(Context&, Tensor, FeatureMap) { absent(); }
void to_planes(Context&, const FeatureMap&, Tensor) { absent(); }
void max_pool(Context&, const FeatureMap&, const Window&, FeatureMap) { absent(); }
void average_pool(Context&, const FeatureMap&, const Window&, Tensor, FeatureMap) { absent(); }
void spatial_mean(Context&, const FeatureMap&, Tensor) { absent(); }

PackedConv pack_conv(Context&, Tensor, Tensor, DType) { absent(); }
void map_conv(Context&, const MapConvArgs&, std::span<const ConvBranch>) { absent(); }

void group_norm(Context&, const GroupNormArgs&, Tensor) { absent(); }
void map_rows(Context&, const MapRowsArgs&, FeatureMap) { absent(); }

void wide_attention(Context&, const WideAttentionArgs&, Tensor) { absent(); }

void patchify(Context&, Tensor, int, Tensor) { absent(); }
void patchify_backward(Context&, Tensor, int, Tensor) { absent(); }
void unpatchify(Context&, Tensor, int, Tensor) { absent(); }
void unpatchify_backward(Context&, Tensor, int, Tensor) { absent(); }
void timestep_embedding(Context&, Tensor, Tensor) { absent(); }
void embedding_forward(Context&, Tensor, Tensor, Tensor) { absent(); }
void embedding_backward(Context&, Tensor, Tensor, Tensor) { absent(); }
void place_tokens(Context&, Tensor, Tensor, int64_t, Tensor) { absent(); }
void take_tokens(Context&, Tensor, int64_t, Tensor) { absent(); }
void position_backward(Context&, Tensor, Tensor) { absent(); }

void upload(Context&, Tensor, Tensor) { absent(); }
void download(Context&, Tensor, Tensor) { absent(); }
void set_mark(Context&, std::shared_ptr<void>&) { absent(); }
void wait_for(Context&, const std::shared_ptr<void>&) { absent(); }

void cast(Context&, Tensor, Tensor) { absent(); }
void accumulate(Context&, Tensor, Tensor) { absent(); }
void zero(Context&, Tensor) { absent(); }
void random_normal(Context&, std::span<const RandomKey>, Tensor) { absent(); }
void linear_combination(Context&, std::span<const Term>, Tensor) { absent(); }
void clamp(Context&, double, double, Tensor) { absent(); }
void dynamic_threshold(Context&, double, double, double, Tensor) { absent(); }
void match_deviation(Context&, Tensor, double, Tensor) { absent(); }
void blend(Context&, Tensor, Tensor, Tensor) { absent(); }
void noising(Context&, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }
void sample_posterior(Context&, Tensor, Tensor, double, Tensor) { absent(); }
void mse(Context&, Tensor, Tensor, Tensor, Tensor, Tensor) { absent(); }
void pixels_to_image(Context&, Tensor, Tensor) { absent(); }
void image_to_pixels(Context&, Tensor, Tensor) { absent(); }

void squared_norm(Context&, Tensor, Tensor) { absent(); }
void set_rates(Context&, const SweepScalars&, Tensor) { absent(); }
void stop_unless_finite(Context&, Tensor, Tensor) { absent(); }
void clip(Context&, Tensor, double, Tensor) { absent(); }
void adamw_ema(Context&, const AdamWArgs&, Tensor, Tensor, Tensor, Tensor, Tensor, std::span<const Average>, Tensor) {
  absent();
}

}  // namespace uvic::cuda
