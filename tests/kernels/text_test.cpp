#include "kernels/core/text.h"

#include <gtest/gtest.h>

#include <vector>

namespace uvic::test {
namespace {

TEST(Nearest, CountsEdits) {
  const std::vector<std::string> words{"train.batch_size", "train.lr", "train.warmup", "data.path"};
  EXPECT_EQ(nearest("train.batchsize", words), "train.batch_size");  // an insertion
  EXPECT_EQ(nearest("train.lrr", words), "train.lr");                // a deletion
  EXPECT_EQ(nearest("data.bath", words), "data.path");               // a replacement
  EXPECT_EQ(nearest("train.wramup", words), "train.warmup");         // a swap
  EXPECT_EQ(nearest("ab", std::vector<std::string>{"xy", "ba"}), "ba");
  EXPECT_EQ(nearest("anything", {}), "");
  EXPECT_EQ(nearest("", words), "train.lr");
  EXPECT_EQ(nearest("x", std::vector<std::string>{"a", "b"}), "a");
}

TEST(Quote, IsAlwaysOneShortLine) {
  EXPECT_EQ(quote("plain \xc3\xbc"), "\"plain \xc3\xbc\"");
  EXPECT_EQ(quote(std::string_view("a\nb\tc\x1b[2J\0\x7f", 11)), "\"a\\nb\\tc\\x1b[2J\\x00\\x7f\"");
  EXPECT_EQ(quote(std::string(500, 'x')), "\"" + std::string(120, 'x') + "...\"");
  EXPECT_EQ(quote(std::string(119, 'x') + "\u00E9\u00E9"),
            "\"" + std::string(119, 'x') + "...\"");  // not half a letter
}

TEST(Escape, KeepsEverythingButControlBytes) {
  const std::string text(300, 'x');
  EXPECT_EQ(escape(text + "\"\n\x1b\xff"), text + "\"\\n\\x1b\xff");
}

TEST(Join, PutsSeparatorsBetween) {
  EXPECT_EQ(join(std::vector<std::string>{"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(join(std::vector<std::string>{"", "b"}, "|"), "|b");
  EXPECT_EQ(join({}), "");
}

}  // namespace
}  // namespace uvic::test
