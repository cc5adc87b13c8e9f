#pragma once

#include <memory>
#include <span>

#include "app/world.h"
#include "kernels/core/tensor.h"

namespace uvic {

// The processes of one training run and what they tell each other. Every process makes the same calls in the same
// order. A process that is alone never waits, and starts no MPI.
class Processes {
 public:
  // Starts MPI where world has more than one process. Throws Error if this program was built without it, or if MPI sees
  // another number of them.
  explicit Processes(const World& world);
  // Ends MPI; but if an exception is on its way does not, so that the launcher ends the whole job and names this
  // process.
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  int rank() const { return world_.rank; }
  int size() const { return world_.size; }
  bool first() const { return world_.rank == 0; }
  bool alone() const { return world_.size == 1; }

  // Threads for this process, so that those which may run on the same cores of one machine share them; 0 if it is
  // alone: all.
  int threads() const;

  // x (f32) becomes the sum over all processes, the same bits everywhere and in every run of so many. x must not be
  // touched until finish_sums(). Those begun go on inside these calls only.
  void begin_sum(Tensor x);
  void finish_sums();

  // Each number becomes the sum over all processes.
  void sum(std::span<double> numbers) const;
  // Whether it is so in any process: one answer in all of them.
  bool any(bool so) const {
    double count[] = {so ? 1.0 : 0.0};
    sum(count);
    return count[0] > 0;
  }
  // Whether two processes on one machine have the same number: one answer in all of them.
  bool any_twice(int number) const;
  // x becomes what it is in the first process.
  void copy_from_first(Tensor x) const;
  void copy_from_first(std::span<int64_t> numbers) const;
  // x, on the host, in as many equal parts as there are processes, each whole cache lines: a part becomes what it is in
  // its process.
  void gather(Tensor x) const;
  // From one process to another, which calls receive() where it calls send(); x is alike in both but for its contents.
  void send(Tensor x, int to) const;
  void receive(Tensor x, int from) const;

 private:
  struct Impl;
  World world_;
  std::unique_ptr<Impl> impl_;  // none if alone
};

}  // namespace uvic
