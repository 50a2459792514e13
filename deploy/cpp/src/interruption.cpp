#include "interruption.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace rtseg {
namespace {

constexpr int kShellOffset = 128;  // what shells add to the number of the signal that ended a program

std::atomic<bool> deferred{false};
std::atomic<int> pending{0};

static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int number) {
  if (!deferred || pending.exchange(number) != 0) _exit(kShellOffset + number);
}

}  // namespace

void end_at_signals() {
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(number, &action, nullptr);
  }
}

Deferral::Deferral() { deferred = true; }

Deferral::~Deferral() { deferred = false; }

int Deferral::status() const {
  const int number = pending;
  return number == 0 ? 0 : kShellOffset + number;
}

}  // namespace rtseg
