#include "model/io/finite.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "model/io/convert.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

// Every place of a tensor whose length no vector divides, and the largest number that still counts.
TEST(AllFinite, FindsOneAtEveryPlace) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    SCOPED_TRACE(name_of(dtype));
    for (const double bad : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()})
      for (size_t place = 0; place < 37; ++place) {
        std::vector<double> v(37, dtype == DType::f16 ? -65504 : -3.0e38);
        const OwnedTensor from({}, DType::f64, {37}), to({}, dtype, {37});
        std::memcpy(from.tensor.raw(), v.data(), from.tensor.bytes());
        convert(from.tensor, to.tensor);
        ASSERT_TRUE(all_finite(to.tensor));
        v[place] = bad;
        std::memcpy(from.tensor.raw(), v.data(), from.tensor.bytes());
        convert(from.tensor, to.tensor);
        ASSERT_FALSE(all_finite(to.tensor)) << place;
      }
  }
  int64_t whole[] = {-1, 0x7ff0000000000000};
  EXPECT_TRUE(all_finite(Tensor(whole, DType::i64, {2})));
  EXPECT_TRUE(all_finite(Tensor(nullptr, DType::f32, {0})));
  char bytes[9] = {};  // a file aligns nothing
  const float nan = std::nanf("");
  std::memcpy(bytes + 5, &nan, sizeof nan);
  EXPECT_FALSE(all_finite(Tensor(bytes + 1, DType::f32, {2})));
}

}  // namespace
}  // namespace uvic::test
