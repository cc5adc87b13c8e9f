#include "app/text_tower.h"

#include <algorithm>
#include <array>
#include <vector>

#include "app/companion_files.h"
#include "kernels/core/text.h"
#include "model/vocabulary.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

fs::path weights_file(const fs::path& path) {
  UVIC_CHECK(fs::exists(path), path.string(), ": no such file or folder");
  if (!fs::is_directory(path)) return path;
  constexpr std::array kNames{"model.safetensors", "clip_text.safetensors",          "text_encoder.safetensors",
                              "pytorch_model.bin", "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"};
  for (const char* name : kNames)
    if (fs::exists(path / name)) return path / name;
  throw Error(path.string() + ": no text encoder in this folder",
              "looked for " + join(std::vector<std::string>(kNames.begin(), kNames.end())));
}

fs::path tokenizer_for(const fs::path& weights, const fs::path& given) {
  if (!given.empty()) return fs::is_directory(given) ? find_vocabulary(given).value_or(given) : given;
  const fs::path folder = weights.has_parent_path() ? weights.parent_path() : ".";
  std::vector<fs::path> places{folder, folder / "tokenizer"};
  if (folder.filename() == "text_encoder") places.push_back(folder.parent_path() / "tokenizer");  // diffusers' layout
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  places.push_back(program.parent_path().parent_path() / "share" / "uvic" / "clip");
  places.emplace_back(UVIC_ASSETS "/clip");
  std::vector<std::string> looked;
  for (const fs::path& place : places) {
    if (const auto file = find_vocabulary(place)) return *file;
    looked.push_back(place.string());
  }
  throw Error(weights.string() + ": its tokenizer is missing; looked in " + join(looked),
              "give it with --tokenizer: a folder with merges.txt, or assets/clip of uvic");
}

}  // namespace

TextTower::TextTower(Context& ctx, const Options& options)
    : weights_(weights_file(options.weights)),
      tokenizer_(tokenizer_for(weights_, options.tokenizer)),
      warn_(options.warn),
      encoder_(TextEncoder::load(ctx, weights_, {.dtype = options.dtype, .config = {}})),
      tokens_(Tokenizer::load(tokenizer_)) {
  if (tokens_.size() > encoder_->vocabulary())
    throw Error(concat(weights_.string(), ": embeds ", encoder_->vocabulary(), " tokens, but ", tokenizer_.string(),
                       " has ", tokens_.size()),
                "--tokenizer names the one that it was trained with");
}

void TextTower::embed(Context& ctx, std::span<const std::string> texts, Tensor out) const {
  const auto scope = ctx.scope("texts");
  const int64_t N = static_cast<int64_t>(texts.size()), T = out.dim(1);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < N; ++i) {
    const std::string& text = texts[static_cast<size_t>(i)];
    const Tokenizer::Tokens t = tokens_.encode(text, T);
    ids.insert(ids.end(), t.ids.begin(), t.ids.end());
    if (!t.cut.empty() && warn_)
      warn_(concat("a text takes more than ", T, " tokens and is cut: ", quote(text), " loses ", quote(t.cut)));
  }
  encoder_->encode(ctx, Tensor(ids.data(), DType::i32, {N, T}), out);
}

fs::path find_text_encoder(const fs::path& given, const fs::path& model, const std::string& recorded) {
  return find_companion(
      {.what = "text encoder",
       .option = "--text-encoder",
       .given = given,
       .model = model,
       .recorded = recorded,
       .names = {"text_encoder/", "text_encoder.safetensors", "clip_text.safetensors", "clip_text.pth", "clip/"}});
}

}  // namespace uvic
