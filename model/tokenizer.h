#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace uvic {

// CLIP's byte-pair tokenizer: text is cleaned, put in lower case, cut into words, numbers and signs, and each of these
// is spelt by the longest-learnt pairs of a vocabulary. Safe to use from several threads.
class Tokenizer {
 public:
  // Reads OpenAI's bpe_simple_vocab_16e6.txt (or .gz); HuggingFace's tokenizer.json, or merges.txt with vocab.json
  // beside it where there is one (the order of CLIP's own vocabulary where not); or a folder with any of these. Throws
  // Error naming the file and what is wrong in it.
  static Tokenizer load(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // The two published readings of a text differ in a few: HuggingFace's CLIPTokenizer (with ftfy), which U-ViT and
  // diffusers condition on, knows <|startoftext|> and <|endoftext|> before cleaning, leaves HTML entities without a
  // semicolon alone, and pads with the end token; OpenAI's clip.tokenize resolves those too, and pads with 0.
  enum class Style : uint8_t { huggingface, openai };

  struct Tokens {
    std::vector<int32_t> ids;  // start, text, end, padding: as many as asked for
    int64_t used = 0;          // of them, before the padding
    std::string cut;           // what did not fit, as text; empty if all did
  };
  // prompt is UTF-8; what is not becomes U+FFFD, as it does in Python. length is at least 2.
  Tokens encode(std::string_view prompt, int64_t length = 77, Style style = Style::huggingface) const;
  // The tokens of the text alone, however many.
  std::vector<int32_t> tokens_of(std::string_view prompt, Style style = Style::huggingface) const;
  // The text that tokens spell, words apart; start and end are left out.
  std::string decode(std::span<const int32_t> ids) const;

  int64_t size() const;  // of the vocabulary: 49408
  int32_t start() const;
  int32_t end() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic
