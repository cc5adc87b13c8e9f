#include "app/sample_texts.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "app/captions.h"
#include "kernels/ops/pointwise.h"
#include "model/io/convert.h"
#include "model/io/safetensors.h"

namespace uvic {
namespace {

constexpr size_t kAhead = 256;  // prompts whose embeddings, 60 MB of ViT-L/14, are kept; the tower itself takes 0.5 GB

OwnedTensor read(const SafetensorsFile& file, const std::string& name, const Shape& text) {
  const Tensor t = file.tensor(name);
  UVIC_CHECK(t.rank() >= 2 && t.dim(-1) == text[1] && t.dim(-2) == text[0] && t.numel() > 0, file.path().string(),
             ": '", name, "' is ", t.shape(), ", this model needs [N, ", text[0], ", ", text[1], "]");
  OwnedTensor out({}, DType::f32, {t.numel() / text.numel(), text[0], text[1]});
  convert(t, out.tensor);
  return out;
}

bool needs_null(const SampleRequest& r) { return r.generator.guidance.on() && r.guide_model.empty(); }

}  // namespace

std::vector<std::string> prompts_of(const SampleRequest& r) {
  std::vector<std::string> all = r.prompts;
  if (!r.prompts_file.empty())
    for (std::string& prompt : read_prompts(r.prompts_file)) all.push_back(std::move(prompt));
  return all;
}

void TextContext::check(const SampleRequest& r, const ModelInfo& info) const {
  const bool prompted = has_prompts() || r.negative_prompt, from_file = !r.context.empty();
  if (info.config.condition() != Condition::text) {
    UVIC_CHECK(!from_file && r.negative_context.empty(), "--context: this model takes no text");
    UVIC_CHECK(!prompted, "--prompt: this model takes no text");
    return;
  }
  UVIC_CHECK(from_file || has_prompts(), "this model needs --prompt TEXT, --prompts-file FILE, or --context FILE with ",
             "text embeddings [N, ", text_[0], ", ", text_[1], "]");
  UVIC_CHECK(!from_file || !has_prompts(), "--context and --prompt both say what the images show; give one of them");
  UVIC_CHECK(r.interpolate == 0 || prompts_.size() <= 1, "--interpolate keeps to one --prompt, here are ",
             prompts_.size());
  UVIC_CHECK(r.negative_context.empty() || !r.negative_prompt,
             "--negative-context and --negative-prompt both say what to guide away from; give one of them");
  for (const auto& [option, given] : {std::pair("--negative-context", !r.negative_context.empty()),
                                      {"--negative-prompt", r.negative_prompt.has_value()}})
    UVIC_CHECK(!given || needs_null(r), option,
               " is the unconditional side of --cfg-scale: ", "give one other than 1, and no --guide-model");
}

TextContext::TextContext(OwnedTensor rows, OwnedTensor null)
    : text_({rows.tensor.dim(1), rows.tensor.dim(2)}), rows_(std::move(rows)), null_(std::move(null)) {}

TextContext::TextContext(Context& ctx, const SampleRequest& r, const ModelInfo& info)
    : prompts_(prompts_of(r)), text_({info.config.num_clip_token, info.config.clip_dim}) {
  check(r, info);
  if (info.config.condition() != Condition::text) return;
  const bool empty_text = needs_null(r) && r.context.empty() && r.negative_context.empty();
  if (has_prompts() || r.negative_prompt || empty_text) {
    const auto path = find_text_encoder(r.text_encoder, r.model, info.text_encoder);
    const auto warn = [](const std::string& line) { std::fprintf(stderr, "warning: %s\n", line.c_str()); };
    // In f32, whatever the images are made in: a prompt's embedding is the same for all of them.
    tower_ = std::make_unique<TextTower>(ctx, TextTower::Options{path, r.tokenizer, DType::f32, warn});
    UVIC_CHECK(tower_->width() == text_[1] && tower_->tokens() >= text_[0], tower_->weights().string(), ": makes [",
               tower_->tokens(), ", ", tower_->width(), "] of a text, ", r.model.string(), " needs ", text_);
  }
  const auto images = static_cast<int64_t>(r.seeds.size());
  if (!r.context.empty()) {
    const SafetensorsFile file(r.context);
    rows_ = read(file, "context", text_);
    const int64_t n = rows_.tensor.dim(0);
    UVIC_CHECK(n == 1 || n == images, r.context.string(), ": holds ", n, " contexts for ", images,
               " images; one, or one an image, is needed");
    if (needs_null(r) && !r.negative_prompt && r.negative_context.empty()) null_ = read(file, "null", text_);
  }
  if (!r.negative_context.empty()) {
    null_ = read(SafetensorsFile(r.negative_context), "context", text_);
    UVIC_CHECK(null_.tensor.dim(0) == 1, r.negative_context.string(), ": holds ", null_.tensor.dim(0),
               " contexts; one, to guide away from, is needed");
  }
  const std::string negative = r.negative_prompt.value_or("");
  if (r.negative_prompt || empty_text) null_ = embed(ctx, {&negative, 1});
  const size_t needed = std::min(prompts_.size(), r.seeds.size());
  if (needed > 0 && needed <= kAhead) rows_ = embed(ctx, std::span(prompts_).first(needed));
  if (needed <= kAhead) tower_.reset();
}

OwnedTensor TextContext::embed(Context& ctx, std::span<const std::string> texts) const {
  OwnedTensor out({}, DType::f32, {static_cast<int64_t>(texts.size()), text_[0], text_[1]});
  tower_->embed(ctx, texts, out.tensor);
  return out;
}

Tensor TextContext::of(Context& ctx, std::span<const size_t> images) const {
  if (!rows_.tensor && !tower_) return {};
  const auto n = static_cast<int64_t>(images.size());
  const Tensor out = ctx.empty(DType::f32, {n, text_[0], text_[1]});
  if (tower_) {
    std::vector<std::string> texts;
    for (const size_t image : images) texts.push_back(prompt(image));
    tower_->embed(ctx, texts, out);
    return out;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = static_cast<int64_t>(images[static_cast<size_t>(i)]) % rows_.tensor.dim(0);
    cast(ctx, rows_.tensor.rows(row, row + 1), out.rows(i, i + 1));
  }
  return out;
}

Tensor TextContext::null_of(Context& ctx, int64_t count) const {
  if (!null_.tensor) return {};
  const Tensor out = ctx.empty(DType::f32, {count, text_[0], text_[1]});
  for (int64_t i = 0; i < count; ++i) cast(ctx, null_.tensor, out.rows(i, i + 1));
  return out;
}

}  // namespace uvic
