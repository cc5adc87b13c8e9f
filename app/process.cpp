#include "app/process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "kernels/core/error.h"

namespace uvic {
namespace {

[[noreturn]] void become(const std::vector<std::string>& argv, int out) {
  dup2(out, STDOUT_FILENO);
  std::vector<char*> pointers;
  for (const std::string& a : argv) pointers.push_back(const_cast<char*>(a.c_str()));
  pointers.push_back(nullptr);
  execv(pointers[0], pointers.data());
  _exit(127);
}

}  // namespace

Ended run_process(const std::vector<std::string>& argv, const std::function<void(const std::string&)>& on_line) {
  int ends[2];
  UVIC_CHECK(pipe2(ends, O_CLOEXEC) == 0, "cannot start ", argv[0], ": no pipe");
  std::fflush(nullptr);  // what is still in a buffer would be printed by both
  const pid_t child = fork();
  UVIC_CHECK(child >= 0, "cannot start ", argv[0], ": no process");
  if (child == 0) become(argv, ends[1]);
  close(ends[1]);

  std::FILE* out = fdopen(ends[0], "r");
  char* line = nullptr;
  size_t room = 0;
  for (ssize_t n = 0; (n = getline(&line, &room, out)) > 0;)
    on_line(std::string(line, static_cast<size_t>(line[n - 1] == '\n' ? n - 1 : n)));
  std::free(line);
  std::fclose(out);

  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          static_cast<double>(usage.ru_maxrss) / (1 << 20)};  // Linux counts it in KiB
}

}  // namespace uvic
