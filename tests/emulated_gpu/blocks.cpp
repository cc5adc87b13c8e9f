#include "blocks.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fiber.h"
#include "gpu.h"
#include "shared_memory.h"
#include "waiters.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulated_gpu {
namespace {

enum class State : uint8_t { unstarted, runs, can_go_on, at_barrier, in_warp, returned };

struct Thread {
  State state;
  Fiber* fiber;
  const char* what;  // it waits for
  unsigned mask;
  void* data;
};

enum class Order : uint8_t { forward, reverse, shuffle };

// The block that runs. There is one thread of the host that emulates, so there is one.
struct Block {
  const Grid* grid = nullptr;
  std::vector<Thread> threads;
  std::vector<int> order;         // of threads that are to begin, the last one first
  std::vector<int> unstarted;     // likewise
  Waiters can_go_on;              // they waited
  std::vector<unsigned> in_warp;  // for each warp, lanes that wait for others
  size_t at_barrier = 0, returned = 0;
  int votes = 0;
  Meeting meeting{};
  bool has_met = false;  // any thread has waited
  int now = -1;          // the thread whose turn it is
  std::vector<Fiber*> idle;
  Fiber launcher;  // the stack that run() was called on
  std::thread::id runner;
  Order by = Order::forward;
  std::mt19937 random;
} block;

void begin_turn(int thread) {
  block.now = thread;
  const unsigned t = static_cast<unsigned>(thread);
  threadIdx = {t, 0, 0};
  if (t >= blockDim.x) threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
  block.threads[t].state = State::runs;
}

[[noreturn]] void hang() {
  const auto waits = std::find_if(block.threads.begin(), block.threads.end(), [](const Thread& t) {
    return t.state == State::at_barrier || t.state == State::in_warp;
  });
  const auto needed = [&](const Thread& t) {
    if (waits->state == State::at_barrier) return t.state != State::at_barrier;
    const auto i = &t - block.threads.data(), own = waits - block.threads.begin();
    return i / 32 == own / 32 && (waits->mask >> i % 32 & 1) && (t.state != State::in_warp || t.mask != waits->mask);
  };
  const auto other = std::find_if(block.threads.begin(), block.threads.end(), needed);
  begin_turn(static_cast<int>(waits - block.threads.begin()));
  stop("waits for ever at %s: thread %d %s%s", waits->what, static_cast<int>(other - block.threads.begin()),
       other->state == State::returned ? "has returned" : "waits at ",
       other->state == State::returned ? "" : other->what);
}

bool is_same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

void threads_on_fiber();

// Leaves fiber `from` for whatever can go on; comes back when its thread's turn comes, or when it is needed again.
void go_on(Fiber* from) {
  if (!block.can_go_on.empty()) {
    Waiters& all = block.can_go_on;
    const int thread = block.by == Order::forward   ? all.take_first()
                       : block.by == Order::reverse ? all.take_last()
                                                    : all.take_any(block.random);
    begin_turn(thread);
    switch_fiber(from, block.threads[static_cast<size_t>(thread)].fiber);
  } else if (!block.unstarted.empty()) {
    if (block.idle.empty()) block.idle.push_back(new_fiber(threads_on_fiber));
    Fiber* next = block.idle.back();
    block.idle.pop_back();
    switch_fiber(from, next);
  } else if (block.returned == block.threads.size()) {
    switch_fiber(from, &block.launcher);
  } else {
    hang();
  }
}

// Runs threads from begin to end, as long as there are any; then the fiber is idle until a block needs it.
void threads_on_fiber() {
  Fiber* const self = current_fiber();
  for (;;) {
    while (!block.unstarted.empty() && block.can_go_on.empty()) {
      const int thread = block.unstarted.back();
      block.unstarted.pop_back();
      begin_turn(thread);
      block.threads[static_cast<size_t>(thread)].fiber = self;
      block.grid->body();
      block.threads[static_cast<size_t>(block.now)].state = State::returned;
      ++block.returned;
    }
    block.idle.push_back(self);
    go_on(self);
  }
}

void wait(State state) {
  Thread& own = block.threads[static_cast<size_t>(block.now)];
  own.state = state;
  go_on(own.fiber);
}

void release(size_t thread) {
  block.threads[thread].state = State::can_go_on;
  block.can_go_on.push(static_cast<int>(thread));
}

void read_order() {
  const char* text = std::getenv("UVIC_GPU_ORDER");
  const std::string order = text ? text : "forward";
  block.by = order == "reverse" ? Order::reverse : order.rfind("shuffle", 0) == 0 ? Order::shuffle : Order::forward;
  if (block.by == Order::forward && order != "forward")
    stop("UVIC_GPU_ORDER is %s, wanted forward, reverse, or shuffle and a seed", text);
  if (block.by == Order::shuffle) block.random.seed(static_cast<unsigned>(std::atoi(order.c_str() + 7)));
}

void run_block() {
  block.unstarted = block.order;
  if (block.by == Order::shuffle) std::shuffle(block.unstarted.begin(), block.unstarted.end(), block.random);
  std::fill(block.threads.begin(), block.threads.end(), Thread{});
  std::fill(block.in_warp.begin(), block.in_warp.end(), 0u);
  block.returned = 0;
  go_on(&block.launcher);
  block.now = -1;
}

}  // namespace

void run(const Grid& grid) {
  read_order();
  block.grid = &grid;
  block.runner = std::this_thread::get_id();
  gridDim = grid.blocks;
  blockDim = grid.threads;
  const size_t threads = size_t{grid.threads.x} * grid.threads.y * grid.threads.z;
  block.threads.resize(threads);
  block.in_warp.resize((threads + 31) / 32);
  block.can_go_on.reset(threads);
  block.order.resize(threads);
  for (size_t i = 0; i < threads; ++i)
    block.order[i] = static_cast<int>(block.by == Order::reverse ? i : threads - 1 - i);
  const size_t blocks = size_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
  std::vector<size_t> order(blocks);
  for (size_t i = 0; i < blocks; ++i) order[i] = block.by == Order::reverse ? blocks - 1 - i : i;
  if (block.by == Order::shuffle) std::shuffle(order.begin(), order.end(), block.random);
  block.has_met = true;
  for (const size_t i : order) {
    // A kernel whose threads never meet has no use for shared memory: there, once is enough.
    if (block.has_met) fill_shared_memory(grid.shared);
    block.has_met = false;
    blockIdx = {static_cast<unsigned>(i % gridDim.x), static_cast<unsigned>(i / gridDim.x % gridDim.y),
                static_cast<unsigned>(i / gridDim.x / gridDim.y)};
    run_block();
    if (block.has_met) check_shared_memory(grid.shared);
  }
  block.grid = nullptr;
}

Meeting meet_block(const char* what, bool vote) {
  Thread& own = block.threads[static_cast<size_t>(block.now)];
  own.what = what;
  block.has_met = true;
  block.votes += vote;
  if (++block.at_barrier < block.threads.size()) {
    wait(State::at_barrier);
    return block.meeting;
  }
  block.meeting = {block.votes > 0, block.votes};
  block.votes = 0;
  block.at_barrier = 0;
  for (size_t i = 0; i < block.threads.size(); ++i) {
    if (!is_same(block.threads[i].what, what)) stop("is at %s, and thread %zu at %s", what, i, block.threads[i].what);
    if (static_cast<int>(i) != block.now) release(i);
  }
  return block.meeting;
}

int lane() { return block.now % 32; }

void meet_warp(const char* what, unsigned mask, void* data, void (*act)(const Lanes&)) {
  const size_t warp = static_cast<size_t>(block.now) / 32, first = warp * 32;
  const unsigned bit = 1u << lane();
  if (!(mask & bit)) stop("is at %s, whose mask %08x leaves it out", what, mask);
  if (first + static_cast<size_t>(std::bit_width(mask)) > block.threads.size())
    stop("is at %s, whose mask %08x names threads that its block does not have", what, mask);
  Thread& own = block.threads[static_cast<size_t>(block.now)];
  own.what = what;
  own.mask = mask;
  own.data = data;
  block.has_met = true;
  block.in_warp[warp] |= bit;
  if ((block.in_warp[warp] & mask) != mask) return wait(State::in_warp);
  Lanes lanes{what, {}};
  for (size_t i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    const Thread& other = block.threads[first + i];
    if (!is_same(other.what, what) || other.mask != mask)
      stop("is at %s with mask %08x, and thread %zu at %s with mask %08x", what, mask, first + i, other.what,
           other.mask);
    lanes.data[i] = other.data;
  }
  act(lanes);
  block.in_warp[warp] &= ~mask;
  for (size_t i = 0; i < 32; ++i)
    if (mask >> i & 1 && static_cast<int>(first + i) != block.now) release(first + i);
}

std::string place() {
  if (!block.grid || block.runner != std::this_thread::get_id()) return {};
  std::string at = "kernel " + name_of_code(block.grid->kernel) + ", block ";
  const auto number = [](const uint3& i) {
    return std::string("(") + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
  };
  at += number(blockIdx);
  if (block.now >= 0) at += ", thread " + std::to_string(block.now);
  return at + ": ";
}

}  // namespace emulated_gpu
