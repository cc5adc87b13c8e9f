// Several averages in a checkpoint.

#include "model/checkpoint.h"
#include "tests/check.h"
#include "tests/model/hostile.h"

namespace uvic::test {
namespace {

TEST(CheckpointAverages, AveragesAreFoundByTheirRates) {
  const TempFolder run;
  Context ctx;
  const auto filled = [&](ParamStore& store, size_t averages) {
    store.add("w", {3}, Init::zeros);
    store.allocate_for_training(DType::f32, averages);
  };
  ParamStore three({}), two({}), one({});
  filled(three, 3), filled(two, 2), filled(one, 1);
  for (size_t k = 0; k < 3; ++k) assign(three.view(kEmaRoles[k], 0), std::vector<double>(3, 1.0 + double(k)));
  const std::filesystem::path folder =
      save_checkpoint(ctx, run.path(), three, {}, {.step = 1, .ema_rates = {0.9, 0.99, 0.999}});
  for (const char* name : {"model.safetensors", "model-ema-0.99.safetensors", "model-ema-0.999.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(folder / name)) << name;
  EXPECT_EQ(at(read_weights(folder / "model-ema-0.999.safetensors").find("w"), 0), 3);
  const auto first_of = [](const ParamStore& store, Role role) { return at(store.view(role, 0), 0); };
  EXPECT_EQ(load_checkpoint(ctx, folder, two, {0.999, 0.5}).ema_rates, (std::vector<double>{0.9, 0.99, 0.999}));
  EXPECT_EQ(first_of(two, Role::ema), 3);
  EXPECT_EQ(first_of(two, Role::ema1), 1);  // 0.5 is new: it goes on from the first
  load_checkpoint(ctx, folder, one, {0.99});
  EXPECT_EQ(first_of(one, Role::ema), 2);
  load_checkpoint(ctx, folder, one);
  EXPECT_EQ(first_of(one, Role::ema), 1);
}

}  // namespace
}  // namespace uvic::test
