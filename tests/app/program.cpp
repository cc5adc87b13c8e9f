#include "tests/app/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "kernels/core/error.h"

namespace uvic::test {
namespace fs = std::filesystem;
namespace {

// A pipe's two ends; what the program does not inherit is closed when it starts.
struct Pipe {
  int ends[2];
  Pipe() { UVIC_CHECK(::pipe2(ends, O_CLOEXEC) == 0, "pipe2 failed"); }
};

std::thread reader(int from, std::string* text) {
  return std::thread([from, text] {
    char bytes[4096];
    for (ssize_t n = 0; (n = ::read(from, bytes, sizeof bytes)) != 0;) {
      if (n > 0) text->append(bytes, static_cast<size_t>(n));
      if (n < 0 && errno != EINTR) break;
    }
    ::close(from);
  });
}

int status_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

// Open MPI's: tests run as root in containers, with fewer cores than processes.
void prepare_for_mpirun() {
  for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                           "OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_mpi_yield_when_idle"})
    ::setenv(name, "1", 1);
  // Open MPI leaves memory behind at exit, which LeakSanitizer would report as each process's own. The last of an
  // option's values counts; programs that run alone are still searched for leaks.
  const char* asan = std::getenv("ASAN_OPTIONS");
  ::setenv("ASAN_OPTIONS", concat(asan ? asan : "", asan ? ":" : "", "detect_leaks=0").c_str(), 1);
}

// In the child, before exec.
[[noreturn]] void become(const std::vector<std::string>& command, int out, int err, const RunOptions& options) {
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (options.file_size_limit) {
    const rlimit limit{*options.file_size_limit, *options.file_size_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);
  }
  if (options.own_openmp_settings) {
    ::unsetenv("OMP_WAIT_POLICY");
    ::unsetenv("GOMP_SPINCOUNT");
  } else {
    ::setenv("OMP_WAIT_POLICY", "passive", 1);
    ::setenv("GOMP_SPINCOUNT", "0", 1);
  }
  if (!options.sees_gpus) ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  ::setenv("UVIC_PLANS", options.plans.c_str(), 1);
  if (options.processes > 1) prepare_for_mpirun();
  std::vector<char*> argv;
  for (const std::string& a : command) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  ::_exit(126);
}

std::string file_text(const fs::path& path) {  // of /proc, where a process may be gone
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

Program::Program(const std::string& name, const std::vector<std::string>& arguments, const RunOptions& options) {
  const std::string path = name.starts_with('/') ? name : std::string(UVIC_BIN_DIR) + "/" + name;
  UVIC_CHECK(fs::exists(path), path, ": is not built");
  std::vector<std::string> command{path};
  if (options.processes > 1) command = {UVIC_MPIEXEC, "-n", std::to_string(options.processes), path};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Pipe out, err;
  pid_ = ::fork();
  UVIC_CHECK(pid_ >= 0, "fork failed");
  if (pid_ == 0) become(command, out.ends[1], err.ends[1], options);
  ::close(out.ends[1]);
  ::close(err.ends[1]);
  out_reader_ = reader(out.ends[0], &out_);
  err_reader_ = reader(err.ends[0], &err_);
}

Program::~Program() {
  signal(SIGKILL);
  wait();
}

void Program::signal(int number) {
  if (running()) ::kill(pid_, number);
}

bool Program::running() {
  int wait_status = 0;
  if (!status_ && ::waitpid(pid_, &wait_status, WNOHANG) == pid_) status_ = status_of(wait_status);
  return !status_;
}

Ended Program::wait() {
  int wait_status = 0;
  while (!status_) {
    const pid_t got = ::waitpid(pid_, &wait_status, 0);
    if (got == pid_) status_ = status_of(wait_status);
    UVIC_CHECK(got == pid_ || errno == EINTR, "waitpid failed");
  }
  if (out_reader_.joinable()) out_reader_.join();
  if (err_reader_.joinable()) err_reader_.join();
  return {*status_, out_, err_};
}

pid_t process_of(pid_t launcher, int rank) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    pid_t id = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), id).ptr != name.data() + name.size()) continue;
    const std::string status = file_text(entry.path() / "status"), environment = file_text(entry.path() / "environ");
    if (status.find(concat("\nPPid:\t", launcher, "\n")) == std::string::npos) continue;
    if (environment.find(concat("OMPI_COMM_WORLD_RANK=", rank) + '\0') != std::string::npos) return id;
  }
  return 0;
}

bool wait_until(Program& program, const fs::path& folder, const std::function<bool()>& happened) {
  fs::create_directories(folder);
  const int watch = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  UVIC_CHECK(watch >= 0, "inotify_init1 failed");
  const bool watched = ::inotify_add_watch(watch, folder.c_str(), IN_CREATE | IN_MODIFY | IN_MOVED_TO) >= 0;
  bool yes = happened();
  char events[4096];
  // The timeout is there to notice a program that ended without another change.
  for (pollfd p{watch, POLLIN, 0}; watched && !yes && program.running(); yes = happened())
    if (::poll(&p, 1, 50) > 0) (void)!::read(watch, events, sizeof events);
  ::close(watch);
  UVIC_CHECK(watched, "inotify_add_watch failed on ", folder.string());
  return yes;
}

::testing::AssertionResult failed_clearly(const Ended& p, const std::string& name, int status,
                                          const std::vector<std::string>& parts) {
  const auto no = [&] {
    return ::testing::AssertionFailure() << name << " ended with " << p.status << ", stdout '" << p.out << "', stderr '"
                                         << p.err << "': ";
  };
  if (p.status != status) return no() << "expected status " << status;
  if (!p.out.empty()) return no() << "expected nothing on stdout";
  const size_t line = p.err.find(name + ": error: ");
  if (line == std::string::npos || (line > 0 && p.err[line - 1] != '\n')) return no() << "no line with the error";
  const std::string message = p.err.substr(line);
  for (size_t end = message.find('\n'); end + 1 < message.size(); end = message.find('\n', end + 1))
    if (message.substr(end + 1, 2) != "  ") return no() << "a second line that is not indented";
  for (const std::string& part : parts)
    if (message.find(part) == std::string::npos) return no() << "no '" << part << "' in it";
  return ::testing::AssertionSuccess();
}

}  // namespace uvic::test
