// A store divided among several: each keeps and updates its part, and together they are what one is.

#include "model/store_parts.h"

#include <memory>

#include "kernels/ops/transfer.h"
#include "model/optimizer.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

TEST(PartOf, EqualPartsOfWholeLinesCoverAll) {
  for (const int64_t size : {32, 64, 96, 1024, 32 * 1001}) {
    for (const int count : {1, 2, 3, 7}) {
      SCOPED_TRACE(concat(size, " in ", count));
      int64_t end = 0;
      for (int i = 0; i < count; ++i) {
        const FlatPart part = part_of(size, i, count);
        EXPECT_EQ(part.begin, end);
        EXPECT_EQ(part.begin % 32, 0);
        EXPECT_EQ(part.count(), part_of(size, 0, count).count());
        end = part.end;
      }
      EXPECT_GE(end, size);
      EXPECT_LT(end, size + 32 * count);
    }
  }
}

TEST(PartOf, OverlapIsWhatBothHave) {
  const FlatPart part{32, 64};
  EXPECT_EQ(part.overlap({0, 40}).begin, 32);
  EXPECT_EQ(part.overlap({0, 40}).end, 40);
  EXPECT_EQ(part.overlap({40, 50}).count(), 10);
  EXPECT_EQ(part.overlap({0, 100}).count(), 32);
  EXPECT_EQ(part.overlap({0, 32}).count(), 0);
  EXPECT_EQ(part.overlap({70, 80}).count(), 0);
}

// What processes are to each other, in one: gather() only notes this one's part on a board that all share, fetch() and
// send() reach into the stores of the others.
struct Board {
  std::vector<std::byte> weights;
  std::vector<ParamStore*> stores;
};
class PartsOfOne final : public StoreParts {
 public:
  PartsOfOne(Context& ctx, Board& board, int index, int count)
      : ctx_(ctx), board_(board), index_(index), count_(count) {}
  int index() const override { return index_; }
  int count() const override { return count_; }
  void gather(Tensor weights, Role) override {
    const int64_t part = weights.numel() / count_, begin = index_ * part;
    ASSERT_EQ(part * count_, weights.numel());
    board_.weights.resize(weights.bytes());
    const Tensor board(board_.weights.data(), weights.dtype(), weights.shape());
    download(ctx_, weights.rows(begin, begin + part), board.rows(begin, begin + part));
  }
  void fetch(Role role, int64_t begin, Tensor values) override {
    others(role, begin, values, [&](Tensor theirs, Tensor part) { download(ctx_, theirs, part); });
  }
  void send(Role role, int64_t begin, Tensor values) override {
    if (asks) others(role, begin, values, [&](Tensor theirs, Tensor part) { upload(ctx_, part, theirs); });
  }
  bool asks = false;  // of all that call send(), it alone

 private:
  template <class Work>
  void others(Role role, int64_t begin, Tensor values, const Work& work) {
    for (ParamStore* store : board_.stores) {
      const FlatPart theirs = store->part().overlap({begin, begin + values.numel()});
      if (store->part().begin == part_of(store->size(), index_, count_).begin || theirs.count() == 0) continue;
      work(store->own(role, theirs), values.rows(theirs.begin - begin, theirs.end - begin));
    }
  }
  Context& ctx_;
  Board& board_;
  int index_, count_;
};

// One step; returns the gradient's squared norm.
double step_of(Context& ctx, Optimizer& optimizer, const OptimizerConfig& config, int64_t step) {
  optimizer.begin(ctx, config, step);
  optimizer.update(ctx, config);
  return at(on_host(ctx, optimizer.squared_grad_norm()).tensor, 0);
}

struct Divided {
  Divided(Context& ctx, const Where& where, int count) {
    for (int i = 0; i < count; ++i) {
      parts.push_back(std::make_unique<PartsOfOne>(ctx, board, i, count));
      stores.push_back(std::make_unique<ParamStore>(where.device));
      add_parameters(*stores.back());
      stores.back()->allocate_for_training(where.dtype, 2, parts.back().get());
      stores.back()->initialise(ctx, 3);
      optimizers.push_back(std::make_unique<Optimizer>(ctx, *stores.back()));
      board.stores.push_back(stores.back().get());
    }
    parts[0]->asks = true;
  }
  static void add_parameters(ParamStore& store) {
    store.add("a", {5, 33}, Init::normal_1);  // 192 elements with what follows it
    store.add("b", {7}, Init::ones);
    store.add("c", {70}, Init::normal_1);
  }
  std::vector<double> gathered() const {
    const ParamStore& store = *stores[0];
    return values(Tensor(const_cast<std::byte*>(board.weights.data()), store.dtype(), {store.size()}));
  }
  Board board;
  std::vector<std::unique_ptr<PartsOfOne>> parts;
  std::vector<std::unique_ptr<ParamStore>> stores;
  std::vector<std::unique_ptr<Optimizer>> optimizers;
};

class StorePartsTest : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, StorePartsTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(StorePartsTest, UpdatedByPartsIsUpdatedAsOne) {
  Context ctx = context(GetParam());
  ParamStore one(GetParam().device);
  Divided::add_parameters(one);
  one.allocate_for_training(GetParam().dtype, 2);
  Optimizer optimizer(ctx, one);
  for (const int count : {2, 3, 5, 12}) {  // 12: of 10 lines, so that two have none
    SCOPED_TRACE(count);
    Divided divided(ctx, GetParam(), count);
    OptimizerConfig config{.lr = 1e-2, .warmup_steps = 0, .grad_clip = 0.5, .ema_rates = {0.9, 0.5}};
    one.initialise(ctx, 3);
    for (const Role role : {Role::m, Role::v}) assign(one.flat(role), std::vector<double>(size_t(one.size()), 0));
    for (int64_t step = 1; step <= 3; ++step) {
      for (int id = 0; id < 3; ++id) {
        const std::vector<double> g =
            values(random_tensor(DType::f32, one.grad(id).shape(), uint64_t(10 * step + id)).tensor);
        assign(one.grad(id), g);
        for (const auto& store : divided.stores) assign(store->grad(id), g);
      }
      const double norm = step_of(ctx, optimizer, config, step);
      for (const auto& each : divided.optimizers) EXPECT_EQ(step_of(ctx, *each, config, step), norm);
      ASSERT_EQ(divided.gathered(), values(one.flat(Role::working)));
    }
    for (const Role role : {Role::master, Role::m, Role::v, Role::ema, Role::ema1}) {
      if (!divided.stores[0]->divided(role)) continue;
      for (int id = 0; id < 3; ++id)
        EXPECT_EQ(values(divided.stores[0]->get(ctx, role, id).tensor), values(one.view(role, id))) << name_of(role);
    }
    for (const auto& store : divided.stores) store->use(ctx, Role::ema);
    one.use(ctx, Role::ema);
    EXPECT_EQ(divided.gathered(), values(one.flat(Role::working)));
    for (const auto& store : divided.stores) store->use(ctx, Role::master);
    one.use(ctx, Role::master);
    EXPECT_EQ(divided.gathered(), values(one.flat(Role::working)));
  }
}

TEST_P(StorePartsTest, WhatIsSetIsWhatIsGot) {
  Context ctx = context(GetParam());
  Divided divided(ctx, GetParam(), 3);
  for (const Role role : {Role::master, Role::m, Role::v, Role::ema, Role::ema1}) {
    for (int id = 0; id < 3; ++id) {
      const auto value = random_tensor(DType::f32, divided.stores[0]->params()[size_t(id)].shape, uint64_t(id));
      divided.stores[0]->set(ctx, role, id, value.tensor);
      EXPECT_EQ(values(divided.stores[0]->get(ctx, role, id).tensor), values(value.tensor)) << name_of(role);
    }
  }
  EXPECT_NE(error_of([&] { divided.stores[0]->view(Role::m, 0); }).find("m is divided among 3 processes"),
            std::string::npos);
}

TEST_P(StorePartsTest, APartIsAllThatIsAllocated) {
  Context ctx = context(GetParam());
  const Divided divided(ctx, GetParam(), 3);  // 320 elements in 3 x 128
  const ParamStore& store = *divided.stores[2];
  for (const Role role : {Role::m, Role::v, Role::ema, Role::ema1})
    EXPECT_EQ(store.flat(role).bytes(), 128 * 4u) << name_of(role);
  EXPECT_EQ(store.flat(Role::master).bytes(), (GetParam().dtype == DType::f32 ? 320 : 128) * 4u);
  EXPECT_EQ(store.flat(Role::grad).bytes(), 320 * 4u);
  EXPECT_EQ(store.flat(Role::working).bytes(), 320 * size_of(GetParam().dtype));
  EXPECT_TRUE(store.flat(Role::ema2).empty());
}

}  // namespace
}  // namespace uvic::test
