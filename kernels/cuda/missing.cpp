// Ops that have no CUDA code yet: any use says so.

#include "kernels/ops/feature_map.h"
#include "kernels/ops/map_conv.h"
#include "kernels/ops/map_norm.h"
#include "kernels/ops/wide_attention.h"

namespace uvic::cuda {
namespace {

[[noreturn]] void missing(const char* op) { throw Error(concat(op, " does not run on a GPU yet"), "use --device cpu"); }

}  // namespace

FeatureMap make_feature_map(Context&, const MapSize&) { missing("make_feature_map"); }
void unfold(Context&, Tensor, const Window&, FeatureMap) { missing("unfold"); }
void to_tensor(Context&, const FeatureMap&, Tensor) { missing("to_tensor"); }
void from_tensor(Context&, Tensor, FeatureMap) { missing("from_tensor"); }
void to_planes(Context&, const FeatureMap&, Tensor) { missing("to_planes"); }
void max_pool(Context&, const FeatureMap&, const Window&, FeatureMap) { missing("max_pool"); }
void average_pool(Context&, const FeatureMap&, const Window&, Tensor, FeatureMap) { missing("average_pool"); }
void spatial_mean(Context&, const FeatureMap&, Tensor) { missing("spatial_mean"); }

PackedConv pack_conv(Context&, Tensor, Tensor, DType) { missing("pack_conv"); }
void map_conv(Context&, const MapConvArgs&, std::span<const ConvBranch>) { missing("map_conv"); }

void group_norm(Context&, const GroupNormArgs&, Tensor) { missing("group_norm"); }
void map_rows(Context&, const MapRowsArgs&, FeatureMap) { missing("map_rows"); }

void wide_attention(Context&, const WideAttentionArgs&, Tensor) { missing("wide_attention"); }

}  // namespace uvic::cuda
