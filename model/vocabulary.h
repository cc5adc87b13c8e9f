#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace uvic {

// A byte-pair vocabulary as files hold it. Symbols are text: each of the 256 bytes is written as a printable character
// (byte_symbols), and the last one of a word has "</w>" behind it.
struct Vocabulary {
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::unordered_map<std::string, int32_t> ids;             // of every symbol, merged symbol and special token

  static constexpr const char* kStart = "<|startoftext|>";
  static constexpr const char* kEnd = "<|endoftext|>";
  static constexpr const char* kWordEnd = "</w>";
};

// What each byte is written as, in UTF-8: itself where it can be printed, else a character from U+0100 on.
const std::vector<std::string>& byte_symbols();

// The file of a vocabulary in a folder, if there is one.
std::optional<std::filesystem::path> find_vocabulary(const std::filesystem::path& folder);

// As Tokenizer::load says. Every symbol that merges make has an id, and so have the bytes and both special tokens.
Vocabulary read_vocabulary(const std::filesystem::path& path);

}  // namespace uvic
