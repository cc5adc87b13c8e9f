#include "model/tokenizer.h"

#include <algorithm>
#include <queue>
#include <unordered_map>

#include "kernels/core/error.h"
#include "model/text/fix_text.h"
#include "model/text/html.h"
#include "model/text/unicode.h"
#include "model/vocabulary.h"

namespace uvic {
namespace {

using text::is_letter;
using text::is_number;
using text::is_space;

// What no alternative of the pattern takes. U+0345, a mark, is in neither class of letters, but its capital is one, and
// the pattern does not look at case: so it is not in the class of everything else either.
bool is_between(char32_t c) { return is_space(c) || c == 0x345; }

std::u32string one_space(std::u32string_view from) {  // between words, and none around them
  std::u32string out;
  for (const char32_t c : from) {
    if (!is_space(c)) {
      out += c;
    } else if (!out.empty() && out.back() != U' ') {
      out += U' ';
    }
  }
  if (!out.empty() && out.back() == U' ') out.pop_back();
  return out;
}

std::u32string clean(std::u32string_view raw, Tokenizer::Style style) {
  std::u32string s = text::fix_text(raw);
  if (style == Tokenizer::Style::openai) s = text::unescape_html(text::unescape_html(s));
  return text::lower(one_space(s));
}

// Whether word begins text, where a long s counts as an s: the pattern's case folding takes it for one.
bool begins(std::u32string_view text, std::u32string_view word) {
  if (text.size() < word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i)
    if (text[i] != word[i] && !(word[i] == U's' && text[i] == U'\u017F')) return false;
  return true;
}

// The length of the token that begins lower-case text, which does not begin with what is between tokens:
// <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
size_t token_length(std::u32string_view s) {
  for (const std::u32string_view word :
       {U"<|startoftext|>", U"<|endoftext|>", U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"})
    if (begins(s, word)) return word.size();
  size_t n = 0;
  if (is_number(s[0])) return 1;
  if (is_letter(s[0])) {
    while (n < s.size() && is_letter(s[n])) ++n;
  } else {
    while (n < s.size() && !is_letter(s[n]) && !is_number(s[n]) && !is_between(s[n])) ++n;
  }
  return n;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(const Vocabulary& v);

  struct Merge {
    int32_t rank, id;
  };
  const Merge* merge(int32_t left, int32_t right) const {
    const auto it = merges.find(key(left, right));
    return it == merges.end() ? nullptr : &it->second;
  }
  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  void spell(const std::string& word, std::vector<int32_t>& out) const;
  void tokenize(std::u32string_view text, Style style, std::vector<int32_t>& out) const;

  std::unordered_map<uint64_t, Merge> merges;  // by the ids of both sides
  std::vector<int32_t> inner, last;            // of each byte, in a word and at its end
  std::unordered_map<int32_t, std::string> symbols;
  int32_t start, end;
  int64_t size = 0;
};

Tokenizer::Impl::Impl(const Vocabulary& v) : start(v.ids.at(Vocabulary::kStart)), end(v.ids.at(Vocabulary::kEnd)) {
  for (const std::string& symbol : byte_symbols()) {
    inner.push_back(v.ids.at(symbol));
    last.push_back(v.ids.at(symbol + Vocabulary::kWordEnd));
  }
  for (const auto& [left, right] : v.merges)
    merges.emplace(key(v.ids.at(left), v.ids.at(right)),
                   Merge{static_cast<int32_t>(merges.size()), v.ids.at(left + right)});
  for (const auto& [symbol, id] : v.ids) {
    symbols[id] = symbol;
    size = std::max<int64_t>(size, id + 1);
  }
}

// Merges neighbours, always the pair learnt first and of several the leftmost, until none is in the vocabulary. A heap
// of pairs keeps this n log n in a word of n bytes; entries whose sides have changed since are passed over.
void Tokenizer::Impl::spell(const std::string& word, std::vector<int32_t>& out) const {
  struct Symbol {
    int32_t id;
    size_t previous, next;
  };
  constexpr size_t kNone = static_cast<size_t>(-1);
  std::vector<Symbol> chain;
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    const bool ends = i + 1 == word.size();
    chain.push_back({ends ? last[byte] : inner[byte], i - 1, ends ? kNone : i + 1});  // -1 is kNone
  }
  struct Pair {
    int32_t rank;
    size_t at;
    int32_t left, right, id;
    bool operator>(const Pair& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> pairs;
  const auto offer = [&](size_t at) {
    if (at == kNone || chain[at].next == kNone) return;
    const int32_t left = chain[at].id, right = chain[chain[at].next].id;
    if (const Merge* m = merge(left, right)) pairs.push({m->rank, at, left, right, m->id});
  };
  for (size_t i = 0; i < chain.size(); ++i) offer(i);
  while (!pairs.empty()) {
    const Pair p = pairs.top();
    pairs.pop();
    Symbol& left = chain[p.at];
    if (left.id != p.left || left.next == kNone || chain[left.next].id != p.right) continue;
    Symbol& right = chain[left.next];
    left.id = p.id;
    left.next = right.next;
    right.id = -1;  // gone
    if (left.next != kNone) chain[left.next].previous = p.at;
    offer(left.previous);
    offer(p.at);
  }
  for (size_t i = 0; i != kNone && i < chain.size(); i = chain[i].next) out.push_back(chain[i].id);
}

void Tokenizer::Impl::tokenize(std::u32string_view raw, Style style, std::vector<int32_t>& out) const {
  const std::u32string clean_text = clean(raw, style);
  std::u32string_view s = clean_text;
  while (!s.empty()) {
    if (is_between(s[0])) {
      s.remove_prefix(1);
      continue;
    }
    const size_t n = token_length(s);
    const std::string word = text::encode_utf8(s.substr(0, n));
    if (word == Vocabulary::kStart || word == Vocabulary::kEnd) {
      out.push_back(word == Vocabulary::kStart ? start : end);
    } else {
      spell(word, out);
    }
    s.remove_prefix(n);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  return Tokenizer(std::make_unique<Impl>(read_vocabulary(path)));
}

int64_t Tokenizer::size() const { return impl_->size; }
int32_t Tokenizer::start() const { return impl_->start; }
int32_t Tokenizer::end() const { return impl_->end; }

std::vector<int32_t> Tokenizer::tokens_of(std::string_view prompt, Style style) const {
  const std::u32string all = text::decode_utf8(prompt);
  std::u32string_view rest = all;
  std::vector<int32_t> ids;
  while (style == Style::huggingface) {  // it takes special tokens out before anything else
    constexpr std::u32string_view kStart = U"<|startoftext|>", kEnd = U"<|endoftext|>";
    const size_t a = rest.find(kStart), b = rest.find(kEnd), at = std::min(a, b);
    if (at == rest.npos) break;
    impl_->tokenize(rest.substr(0, at), style, ids);
    ids.push_back(at == a ? impl_->start : impl_->end);
    rest.remove_prefix(at + (at == a ? kStart : kEnd).size());
  }
  impl_->tokenize(rest, style, ids);
  return ids;
}

Tokenizer::Tokens Tokenizer::encode(std::string_view prompt, int64_t length, Style style) const {
  UVIC_CHECK(length >= 2, "tokenizer: a length of ", length, " has no room for start and end");
  std::vector<int32_t> ids = tokens_of(prompt, style);
  Tokens t;
  const size_t room = static_cast<size_t>(length) - 2;
  if (ids.size() > room) {
    t.cut = decode(std::span(ids).subspan(room));
    ids.resize(room);
  }
  t.ids.push_back(impl_->start);
  t.ids.insert(t.ids.end(), ids.begin(), ids.end());
  t.ids.push_back(impl_->end);
  t.used = static_cast<int64_t>(t.ids.size());
  t.ids.resize(static_cast<size_t>(length), style == Style::openai ? 0 : impl_->end);
  return t;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  static const std::unordered_map<std::string, char> bytes = [] {
    std::unordered_map<std::string, char> all;
    for (size_t b = 0; b < 256; ++b) all[byte_symbols()[b]] = static_cast<char>(b);
    return all;
  }();
  std::string out;
  for (const int32_t id : ids) {
    const auto it = impl_->symbols.find(id);
    UVIC_CHECK(it != impl_->symbols.end(), "tokenizer: no token has the id ", id);
    if (id == impl_->start || id == impl_->end) continue;
    std::string_view symbol = it->second;
    const bool ends = symbol.ends_with(Vocabulary::kWordEnd);
    if (ends) symbol.remove_suffix(std::string_view(Vocabulary::kWordEnd).size());
    while (!symbol.empty()) {  // one or two bytes of UTF-8 a symbol
      const size_t n = std::min<size_t>(static_cast<unsigned char>(symbol[0]) < 0x80 ? 1 : 2, symbol.size());
      if (const auto byte = bytes.find(std::string(symbol.substr(0, n))); byte != bytes.end()) out += byte->second;
      symbol.remove_prefix(n);
    }
    if (ends) out += ' ';
  }
  if (out.ends_with(' ')) out.pop_back();
  return text::encode_utf8(text::decode_utf8(out));  // a cut may fall inside a character
}

}  // namespace uvic
