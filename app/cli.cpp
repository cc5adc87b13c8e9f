#include "app/cli.h"

#include <sys/time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>

#include "app/cache_folder.h"
#include "kernels/core/error.h"

namespace uvic {

namespace {

constexpr const char* kStartedAgain = "UVIC_STARTED_AGAIN";

// GNU OpenMP's threads spin for milliseconds where they wait for each other, and with them every other program on the
// same cores stands still: a training run beside a compiler was ten times slower. The library reads its environment
// once, as it is loaded, so the program starts itself again with a short spin in it. Once read, it is taken out again:
// programs that this one starts (uvic-bench's peer) find what the user set and nothing else.
void spin_briefly(char** argv) {
  if (!std::getenv(kStartedAgain)) {
    if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "2000", 1);
    setenv(kStartedAgain, "1", 1);
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);  // under its own name, for ps and top
    execv(self.c_str(), argv);
    // Comes back only where it cannot be done: it then runs on as it is.
  }
  unsetenv("GOMP_SPINCOUNT");
  unsetenv(kStartedAgain);
}

}  // namespace

volatile std::sig_atomic_t stop_requested = 0;

int run_program(int argc, char** argv, const std::string& name, const std::string& description,
                const std::function<void(CLI::App&)>& declare, const std::function<int()>& run) {
  spin_briefly(argv);
  keep_timed_plans();
  try {
    CLI::App app(description, name);
    app.option_defaults()->always_capture_default();
    app.set_version_flag("--version", name + " " UVIC_VERSION);
    declare(app);
    try {
      app.parse(argc, argv);
      return run();
    } catch (const CLI::CallForHelp& e) {
      return app.exit(e);
    } catch (const CLI::CallForVersion& e) {
      return app.exit(e);
    } catch (const CLI::ParseError& e) {
      std::fprintf(stderr, "%s: error: %s\n  see %s --help\n", name.c_str(), e.what(), name.c_str());
      return 2;
    }
  } catch (const Error& e) {
    std::fprintf(stderr, "%s: error: %s\n", name.c_str(), e.what());
    if (!e.hint().empty()) std::fprintf(stderr, "  hint: %s\n", e.hint().c_str());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "%s: error: out of memory\n  hint: a smaller batch needs less\n", name.c_str());
  } catch (const std::filesystem::filesystem_error& e) {
    std::fprintf(stderr, "%s: error: %s: %s\n", name.c_str(), e.path1().c_str(), e.code().message().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: error: %s\n", name.c_str(), e.what());
  }
  return 1;
}

namespace {

constexpr suseconds_t kGraceMicroseconds = 500'000;
std::string last_words;  // of the process that has to say them

void end_now(int) {
  (void)!write(STDERR_FILENO, last_words.data(), last_words.size());
  _exit(kExitInterrupted);
}

void ask_to_stop(int) { stop_requested = 1; }

void ask_to_stop_soon(int) {
  stop_requested = 1;
  const itimerval grace{.it_interval = {}, .it_value = {0, kGraceMicroseconds}};
  setitimer(ITIMER_REAL, &grace, nullptr);
}

void call_on_signals(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second one is not caught
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void catch_signals() { call_on_signals(ask_to_stop); }

void catch_signals(const std::string& name, const World& world) {
  if (world.size == 1) return catch_signals();
  if (world.rank == 0) last_words = name + ": interrupted\n";
  struct sigaction action {};
  action.sa_handler = end_now;
  sigaction(SIGALRM, &action, nullptr);
  call_on_signals(ask_to_stop_soon);
}

void ends_by_itself() {
  const itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
}

}  // namespace uvic
