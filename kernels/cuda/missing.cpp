// Ops that have no CUDA code yet: any use says so.

#include "kernels/ops/feature_map.h"
#include "kernels/ops/map_conv.h"

namespace uvic::cuda {
namespace {

[[noreturn]] void missing(const char* op) { throw Error(concat(op, " does not run on a GPU yet"), "use --device cpu"); }

}  // namespace

FeatureMap make_feature_map(Context&, const MapSize&) { missing("make_feature_map"); }
void unfold(Context&, Tensor, const Window&, FeatureMap) { missing("unfold"); }
void to_tensor(Context&, const FeatureMap&, Tensor) { missing("to_tensor"); }
void max_pool(Context&, const FeatureMap&, const Window&, FeatureMap) { missing("max_pool"); }
void average_pool(Context&, const FeatureMap&, const Window&, Tensor, FeatureMap) { missing("average_pool"); }
void spatial_mean(Context&, const FeatureMap&, Tensor) { missing("spatial_mean"); }

PackedConv pack_conv(Context&, Tensor, Tensor) { missing("pack_conv"); }
void map_conv(Context&, const MapConvArgs&, std::span<const ConvBranch>) { missing("map_conv"); }

}  // namespace uvic::cuda
