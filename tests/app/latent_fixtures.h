#pragma once

// Folders of latents and texts as uvic-encode writes them, with made-up numbers, and the smallest runs on them.

#include "app/data/tensor_shards.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {

struct MadeLatents {
  int64_t images = 12, classes = 3;  // image i is of class i % classes and named "class<c>/img<i>"; 0 classes: none
  Shape latent{4, 8, 8};             // [2C, h, w] or, if means, [C, h, w]
  bool means = false, flips = false;
  DType dtype = DType::f32;
  int64_t shard = 5;  // images a shard
};

// Numbers that no other image, and not its mirror image, has. Log variances are small.
inline OwnedTensor made_latent(const MadeLatents& m, int64_t image, bool flipped) {
  return random_tensor(m.dtype, m.latent, static_cast<uint64_t>(100 + 2 * image + flipped), 1);
}

inline std::string made_name(const MadeLatents& m, int64_t image) {
  return concat(m.classes > 0 ? concat("class", image % m.classes, "/") : "", "img", image);
}

inline Shape with_rows(int64_t rows, const Shape& row) {
  Shape shape{rows};
  for (const int64_t d : row) shape.push_back(d);
  return shape;
}

inline void write_latents(const std::filesystem::path& folder, const MadeLatents& m, LogFields made = {}) {
  ShardPlan plan{.kind = "images", .items = m.images, .items_a_shard = m.shard, .made = std::move(made)};
  for (int64_t c = 0; c < m.classes; ++c) plan.class_names.push_back("class" + std::to_string(c));
  TensorShardWriter writer(folder, plan);
  for (int shard = 0; shard < writer.shards(); ++shard) {
    const Rows rows = writer.items(shard);
    ShardContents contents;
    const OwnedTensor own({}, m.dtype, with_rows(rows.count(), m.latent)), other({}, m.dtype, own.tensor.shape());
    OwnedTensor labels({}, DType::i32, {rows.count()});
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const int64_t row = i - rows.begin;
      contents.names.push_back(made_name(m, i));
      for (const auto& [to, flipped] : {std::pair{own.tensor, false}, std::pair{other.tensor, true}})
        std::memcpy(to.rows(row, row + 1).raw(), made_latent(m, i, flipped).tensor.raw(),
                    to.rows(row, row + 1).bytes());
      if (m.classes > 0) labels.tensor.data<int32_t>()[row] = static_cast<int32_t>(i % m.classes);
    }
    const std::string name = m.means ? "means" : "moments";
    contents.tensors = {{name, own.tensor}};
    if (m.flips) contents.tensors.push_back({name + "_flipped", other.tensor});
    if (m.classes > 0) contents.tensors.push_back({"labels", labels.tensor});
    writer.write(shard, contents);
  }
  writer.finish();
}

struct MadeTexts {
  std::vector<std::string> names;  // of images; one empty name each: by place
  Shape context{5, 6};             // [T, D]
  DType dtype = DType::f32;
  int64_t shard = 4;

  int64_t captions(int64_t i) const { return 1 + i % 3; }
};

// Caption k of text i; i = -1: of no text.
inline OwnedTensor made_context(const MadeTexts& m, int64_t i, int64_t k) {
  return random_tensor(m.dtype, m.context, static_cast<uint64_t>(5000 + 10 * i + k), 1);
}

inline void write_texts(const std::filesystem::path& folder, const MadeTexts& m) {
  TensorShardWriter writer(folder, {.kind = "text",
                                    .items = static_cast<int64_t>(m.names.size()),
                                    .items_a_shard = m.shard,
                                    .made = {{"text_encoder", "tower.safetensors"}}});
  for (int shard = 0; shard < writer.shards(); ++shard) {
    const Rows rows = writer.items(shard);
    std::vector<int64_t> begin{0};
    ShardContents contents;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      begin.push_back(begin.back() + m.captions(i));
      contents.names.push_back(m.names[static_cast<size_t>(i)]);
    }
    OwnedTensor context({}, m.dtype, with_rows(begin.back(), m.context));
    for (int64_t i = rows.begin, at = 0; i < rows.end; ++i)
      for (int64_t k = 0; k < m.captions(i); ++k, ++at)
        std::memcpy(context.tensor.rows(at, at + 1).raw(), made_context(m, i, k).tensor.raw(),
                    context.tensor.rows(at, at + 1).bytes());
    const OwnedTensor empty = made_context(m, -1, 0);
    contents.tensors = {{"context", context.tensor},
                        {"begin", Tensor(begin.data(), DType::i64, {static_cast<int64_t>(begin.size())})},
                        {"empty_context", empty.tensor}};
    writer.write(shard, contents);
  }
  writer.finish();
}

inline DataConfig latents_at(const std::filesystem::path& path) {
  DataConfig c = data_at(path);
  c.format = "latents";
  c.random_flip = false;
  return c;
}

}  // namespace uvic::test
