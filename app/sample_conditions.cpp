#include "app/sample_conditions.h"

#include "app/loaded_model.h"
#include "kernels/core/philox.h"
#include "kernels/ops/pointwise.h"
#include "model/io/convert.h"
#include "model/io/safetensors.h"

namespace uvic {
namespace {

OwnedTensor read(const SafetensorsFile& file, const std::string& name, const UViCConfig& c) {
  const Tensor t = file.tensor(name);
  const int64_t row = int64_t{c.num_clip_token} * c.clip_dim;
  UVIC_CHECK(t.rank() >= 2 && t.dim(-1) == c.clip_dim && t.dim(-2) == c.num_clip_token && t.numel() > 0,
             file.path().string(), ": '", name, "' is ", t.shape(), ", this model needs [N, ", c.num_clip_token, ", ",
             c.clip_dim, "]");
  OwnedTensor out({}, DType::f32, {t.numel() / row, c.num_clip_token, c.clip_dim});
  convert(t, out.tensor);
  return out;
}

// Row i of the result is the row of `from` that pick(i) names.
template <class Pick>
Tensor gather(Context& ctx, Tensor from, int64_t count, const Pick& pick) {
  if (from.empty()) return {};
  Tensor out = ctx.empty(DType::f32, {count, from.dim(1), from.dim(2)});
  for (int64_t i = 0; i < count; ++i) cast(ctx, from.rows(pick(i), pick(i) + 1), out.rows(i, i + 1));
  return out;
}

}  // namespace

int32_t other_label(const ModelInfo& info, const SampleRequest& r) {
  const size_t comma = r.classes.find(',');
  if (r.interpolate == 0 || comma == std::string::npos) return -1;
  UVIC_CHECK(info.config.num_classes > 0, "--class ", r.classes, ": this model takes no class");
  return class_of_name(info, r.classes.substr(comma + 1));
}

int32_t negative_label(const ModelInfo& info, const SampleRequest& r) {
  if (r.negative_class.empty()) return -1;
  UVIC_CHECK(info.config.num_classes > 0, "--negative-class ", r.negative_class, ": this model takes no class");
  UVIC_CHECK(r.generator.guidance.on() && r.guide_model.empty(), "--negative-class ", r.negative_class,
             " is the unconditional side of --cfg-scale: give one other than 1, and no --guide-model");
  return class_of_name(info, r.negative_class);
}

std::vector<int32_t> choose_labels(const ModelInfo& info, const SampleRequest& r) {
  std::vector<int32_t> labels;
  const int classes = info.config.real_classes();
  if (info.config.num_classes <= 0) {
    UVIC_CHECK(r.classes == "all", "--class ", r.classes, ": this model takes no class");
    return labels;
  }
  UVIC_CHECK(r.interpolate == 0 || r.classes != "all", "--interpolate needs one --class, or two as A,B");
  const bool all = r.classes == "all", random = r.classes == "random";
  const std::string first = r.interpolate > 0 ? r.classes.substr(0, r.classes.find(',')) : r.classes;
  const int one = all || random ? 0 : class_of_name(info, first);
  for (size_t i = 0; i < r.seeds.size(); ++i) {
    const Random4 draw = philox({r.seeds[i], 0, Stream::label_drop, 0}, 0);
    labels.push_back(all      ? static_cast<int32_t>(i % static_cast<size_t>(classes))
                     : random ? static_cast<int32_t>(draw.v[0] % static_cast<uint32_t>(classes))
                              : one);
  }
  return labels;
}

TextContext::TextContext(const SampleRequest& r, const UViCConfig& c) {
  if (c.condition() != Condition::text) {
    UVIC_CHECK(r.context.empty() && r.negative_context.empty(), "--context: this model takes no text");
    return;
  }
  UVIC_CHECK(!r.context.empty(), "this model needs --context FILE with text embeddings [N, ", c.num_clip_token, ", ",
             c.clip_dim, "]");
  const SafetensorsFile file(r.context);
  rows_ = read(file, "context", c);
  const int64_t n = rows_.tensor.dim(0);
  UVIC_CHECK(n == 1 || n == static_cast<int64_t>(r.seeds.size()), r.context.string(), ": holds ", n, " contexts for ",
             r.seeds.size(), " images; one, or one an image, is needed");
  const bool needs_null = r.generator.guidance.on() && r.guide_model.empty();
  UVIC_CHECK(needs_null || r.negative_context.empty(), "--negative-context is the unconditional side of --cfg-scale: ",
             "give one other than 1, and no --guide-model");
  if (!r.negative_context.empty()) {
    null_ = read(SafetensorsFile(r.negative_context), "context", c);
    UVIC_CHECK(null_.tensor.dim(0) == 1, r.negative_context.string(), ": holds ", null_.tensor.dim(0),
               " contexts; one, to guide away from, is needed");
  } else if (needs_null) {
    null_ = read(file, "null", c);
  }
}

Tensor TextContext::of(Context& ctx, std::span<const size_t> images) const {
  return gather(ctx, rows_.tensor, static_cast<int64_t>(images.size()), [&](int64_t i) {
    return rows_.tensor.dim(0) == 1 ? 0 : static_cast<int64_t>(images[static_cast<size_t>(i)]);
  });
}

Tensor TextContext::null_of(Context& ctx, int64_t count) const {
  return gather(ctx, null_.tensor, count, [](int64_t) { return int64_t{0}; });
}

}  // namespace uvic
