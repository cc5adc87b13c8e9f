#include "app/encode_text.h"

#include <algorithm>
#include <utility>

#include "app/cache_folder.h"
#include "app/captions.h"
#include "app/data/tensor_shards.h"
#include "app/in_scope.h"
#include "app/sha256.h"
#include "app/text_tower.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "model/io/convert.h"
#include "model/text/unicode.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kTogether = 16;  // captions between two looks at the clock
constexpr int64_t kShown = 5;      // captions that are cut and named; of the others there is a number

// What a model's metadata may call it: a name that says something beside other files.
std::string name_of_tower(const fs::path& weights) {
  const std::string file = weights.filename().string(),
                    folder = fs::absolute(weights).parent_path().filename().string();
  return file == "model.safetensors" || file == "pytorch_model.bin" ? folder : file;
}

std::string sha256_if_there(const fs::path& path) { return fs::exists(path) ? sha256_of_file(path) : "none"; }

class TextEncoding {
 public:
  TextEncoding(const EncodeTextRequest& request, const Processes& processes)
      : request_(request),
        processes_(processes),
        items_(read_captions(request.captions)),
        ctx_({.device = request.device,
              .threads = request.threads > 0 ? request.threads : processes.threads(),
              .timed_plans = timed_plans()}),
        tower_(ctx_,
               {request.text_encoder, request.tokenizer, request.working, [this](const auto& s) { note_cut(s); }}) {}

  EncodeTextOutcome run();

 private:
  int64_t captions(Rows items) const;
  ShardPlan plan() const;
  void note_broken_text() const;
  void note_cut(const std::string& line);
  // Overwrites out [N, T, D], of the dtype that is stored.
  void embed(std::span<const std::string> texts, Tensor out);
  bool encode_shard(TensorShardWriter& writer, int shard);  // false: stopped

  const EncodeTextRequest& request_;
  const Processes& processes_;
  const std::vector<Captions> items_;
  Context ctx_;
  TextTower tower_;
  Progress* progress_ = nullptr;
  int64_t done_ = 0, cut_ = 0;  // captions of this process
};

int64_t TextEncoding::captions(Rows items) const {
  int64_t n = 0;
  for (int64_t i = items.begin; i < items.end; ++i)
    n += static_cast<int64_t>(items_[static_cast<size_t>(i)].texts.size());
  return n;
}

ShardPlan TextEncoding::plan() const {
  const auto n = static_cast<int64_t>(items_.size());
  const double caption =
      static_cast<double>(tower_.tokens() * tower_.width()) * static_cast<double>(size_of(request_.dtype));
  const double item = caption * static_cast<double>(captions({0, n})) / static_cast<double>(n);
  return {.kind = "text",
          .items = n,
          .items_a_shard = std::max<int64_t>(1, static_cast<int64_t>(request_.shard_mb * 1e6 / item)),
          .made = {{"text_encoder", name_of_tower(tower_.weights())},
                   {"text_encoder_sha256", sha256_of_file(tower_.weights())},
                   {"text_encoder_config_sha256", sha256_if_there(tower_.weights().parent_path() / "config.json")},
                   {"tokenizer_sha256", sha256_if_there(tower_.tokenizer())},
                   {"tokens", tower_.tokens()},
                   {"dtype", name_of(request_.dtype)},
                   {"working_dtype", name_of(request_.working)},
                   {"captions_sha256", sha256_of_file(request_.captions)}}};
}

// Of the published tokenizers' U+FFFD nobody would know that it was a letter of Latin-1.
void TextEncoding::note_broken_text() const {
  int64_t broken = 0;
  std::string example;
  for (const Captions& item : items_)
    for (const std::string& text : item.texts)
      if (!text::decode_utf8_strictly(text) && broken++ == 0) example = text;
  if (broken > 0)
    progress_->say(concat(request_.captions.string(), ": captions that are not UTF-8: ", broken, ", the first is ",
                          quote(example), "; what is not becomes U+FFFD"));
}

void TextEncoding::note_cut(const std::string& line) {
  if (progress_ && cut_ < kShown) progress_->say(line);
  if (progress_ && cut_ == kShown) progress_->say("more texts are cut; their number follows at the end");
  ++cut_;
}

void TextEncoding::embed(std::span<const std::string> texts, Tensor out) {
  ctx_.arena().reset();
  const OwnedTensor states({}, DType::f32, out.shape());
  in_scope(ctx_, [&] { tower_.embed(ctx_, texts, states.tensor); });
  convert(states.tensor, out);
}

bool TextEncoding::encode_shard(TensorShardWriter& writer, int shard) {
  const Rows rows = writer.items(shard);
  ShardContents contents;
  std::vector<std::string> texts;
  std::vector<int64_t> begin{0};
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const Captions& item = items_[static_cast<size_t>(i)];
    contents.names.push_back(item.image);
    texts.insert(texts.end(), item.texts.begin(), item.texts.end());
    begin.push_back(static_cast<int64_t>(texts.size()));
  }
  const auto n = static_cast<int64_t>(texts.size());
  const OwnedTensor context({}, request_.dtype, {n, tower_.tokens(), tower_.width()});
  const OwnedTensor empty({}, request_.dtype, {1, tower_.tokens(), tower_.width()});
  for (int64_t i = 0; i < n; i += kTogether) {
    if (request_.stop && *request_.stop) return false;
    const int64_t end = std::min(n, i + kTogether);
    embed(std::span(texts).subspan(static_cast<size_t>(i), static_cast<size_t>(end - i)), context.tensor.rows(i, end));
    progress_->update(done_ += end - i);
  }
  const std::string none;
  embed({&none, 1}, empty.tensor);
  std::string lines;
  for (const std::string& text : texts) lines += escape(text) + '\n';
  contents.tensors = {{"context", context.tensor},
                      {"begin", Tensor(begin.data(), DType::i64, {static_cast<int64_t>(begin.size())})},
                      {"empty_context", empty.tensor.view({tower_.tokens(), tower_.width()})},
                      {"captions", Tensor(lines.data(), DType::u8, {static_cast<int64_t>(lines.size())})}};
  writer.write(shard, contents);
  return true;
}

EncodeTextOutcome TextEncoding::run() {
  EncodeTextOutcome outcome{encode_shards({.from = request_.captions,
                                           .out = request_.out,
                                           .plan = plan(),
                                           .unit = "caption",
                                           .units = [this](Rows items) { return captions(items); },
                                           .encode =
                                               [this](TensorShardWriter& writer, int shard, Progress& progress) {
                                                 if (!std::exchange(progress_, &progress)) note_broken_text();
                                                 return encode_shard(writer, shard);
                                               }},
                                          request_.progress, processes_)};
  double of_all[] = {static_cast<double>(done_), static_cast<double>(cut_)};
  processes_.sum(of_all);
  outcome.encoded = static_cast<int64_t>(of_all[0]), outcome.cut = static_cast<int64_t>(of_all[1]);
  return outcome;
}

}  // namespace

EncodeTextOutcome encode_text(const EncodeTextRequest& request, Processes& processes) {
  return TextEncoding(request, processes).run();
}

}  // namespace uvic
