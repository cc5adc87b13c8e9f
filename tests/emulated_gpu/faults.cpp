#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "gpu.h"

namespace emulated_gpu {
namespace {

// Where the program was loaded: addresses in its file are relative to this.
uintptr_t load_address() {
  uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* to) {
        *static_cast<uintptr_t*>(to) = info->dlpi_addr;
        return 1;
      },
      &base);
  return base;
}

// Functions and lines of addresses inside the program, by binutils.
std::string resolve(const std::string& options, void* const* addresses, int count) {
  char command[2048];
  int length = std::snprintf(command, sizeof command, "addr2line %s -e /proc/%d/exe", options.c_str(), getpid());
  for (int i = 0; i < count && length < 1900; ++i)
    length += std::snprintf(command + length, sizeof command - static_cast<size_t>(length), " 0x%zx",
                            reinterpret_cast<uintptr_t>(addresses[i]) - load_address());
  std::string text;
  FILE* pipe = popen(command, "r");
  if (!pipe) return text;
  char line[1024];
  while (std::fgets(line, sizeof line, pipe)) text += line;
  pclose(pipe);
  return text;
}

void print_callers() {
  void* addresses[32];
  const int count = backtrace(addresses, 32);
  std::fputs(resolve("-Cfpi", addresses, count).c_str(), stderr);
}

void on_fault(int, siginfo_t* info, void*) {
  const void* at = info->si_addr;
  signal(SIGSEGV, SIG_DFL);
  const std::string kernel = place();
  if (!kernel.empty()) {
    std::fprintf(stderr, "emulated GPU: %stouched %s\n", kernel.c_str(), describe(at).c_str());
  } else {
    std::fprintf(stderr, "emulated GPU: host code touched %s, at %p; called by\n", describe(at).c_str(), at);
  }
  print_callers();
  std::abort();
}

}  // namespace

std::string name_of_code(const void* address) {
  void* const one[] = {const_cast<void*>(address)};
  const std::string text = resolve("-Cf", one, 1);
  return text.substr(0, text.find('\n'));
}

void stop(const char* format, ...) {
  std::fprintf(stderr, "emulated GPU: %s", place().c_str());
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::abort();
}

void use_own_fault_stack() {
  constexpr size_t kBytes = 256 << 10;
  stack_t stack{};
  stack.ss_sp = new char[kBytes];
  stack.ss_size = kBytes;
  sigaltstack(&stack, nullptr);
}

void install_fault_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
  });
}

}  // namespace emulated_gpu
