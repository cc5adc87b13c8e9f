#pragma once

// The built programs, run as a user runs them: arguments in; status, stdout and stderr out; signals at a chosen moment.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace uvic::test {

struct Ended {
  int status = 0;  // the exit status; 128 + the signal's number if one killed it
  std::string out, err;
};

struct RunOptions {
  // No file it writes may grow beyond this, as on a full disk. (SIGXFSZ is ignored, so that write() fails instead.)
  std::optional<uint64_t> file_size_limit;
  // OpenMP is left as a user has it, who has set nothing.
  bool own_openmp_settings = false;
  // Its --device auto is the CPU, unless it may see a GPU.
  bool sees_gpus = false;
  // UVIC_PLANS: what a user's machine found fastest is no part of a test.
  std::string plans = "off";
  // How many of it there are, started by mpirun if there is more than one.
  int processes = 1;
};

// A program while it runs.
class Program {
 public:
  // name: "uvic-train", which lies where UVIC_BIN_DIR says, or a path. Threads of OpenMP do not spin: tests share their
  // machine.
  Program(const std::string& name, const std::vector<std::string>& arguments, const RunOptions& options = {});
  ~Program();  // kills it if it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t id() const { return pid_; }
  void signal(int number);
  bool running();  // false once it has ended; its status is kept
  Ended wait();

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
  std::string out_, err_;  // filled by a thread each, so that it never waits for a reader
  std::thread out_reader_, err_reader_;
};

inline Ended run_program(const std::string& name, const std::vector<std::string>& arguments,
                         const RunOptions& options = {}) {
  return Program(name, arguments, options).wait();
}

// Returns true as soon as happened() is true: asked after each change of a file directly in folder, and false if the
// program ends first. Woken by the kernel (inotify), so nothing is missed and nothing sleeps.
bool wait_until(Program& program, const std::filesystem::path& folder, const std::function<bool()>& happened);

// The process that launcher, an mpirun, has started as this rank; 0: none yet.
pid_t process_of(pid_t launcher, int rank);

// Succeeds if p failed as it should: the status, one line "name: error: ..." with nothing but indented details and
// hints below it, every one of parts somewhere there, nothing on stdout.
::testing::AssertionResult failed_clearly(const Ended& p, const std::string& name, int status,
                                          const std::vector<std::string>& parts);

}  // namespace uvic::test
