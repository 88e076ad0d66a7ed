#include "sim/fiber.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <list>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define SIM_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define SIM_TSAN 1
#endif
#endif

namespace shufflefs::sim {

// Stacks are used again: a page of them that was touched once stays.
struct FiberStack {
  static constexpr std::size_t kBytes = std::size_t{512} << 10U;
  FiberStack()
      : memory(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    // Beyond the end is a page that nobody may touch.
    if (memory == MAP_FAILED || ::mprotect(memory, 4096, PROT_NONE) != 0) std::abort();
#ifdef SIM_TSAN
    tsan = __tsan_create_fiber(0);
#endif
  }
  ~FiberStack() {
#ifdef SIM_TSAN
    __tsan_destroy_fiber(tsan);
#endif
    ::munmap(memory, kBytes);
  }
  FiberStack(const FiberStack&) = delete;
  FiberStack& operator=(const FiberStack&) = delete;
  void* memory;
  void* tsan = nullptr;
};

namespace {

constexpr unsigned kDeadlock = 1'000'000;  // rounds

// The fibers of one thread, and what runs in it.
struct Here {
  Fiber* current = nullptr;
  std::list<Fiber*> asleep;
  std::vector<std::unique_ptr<FiberStack>> stacks;
  bool reactor_runs = false;
  bool reactor_was_stuck = false;
  std::size_t rounds_outside = 0;  // of waiting for a lock, in this step
  void* asan_outside = nullptr;
  const void* asan_bottom = nullptr;
  std::size_t asan_size = 0;
  void* tsan_outside = nullptr;
};
thread_local Here here;

}  // namespace

Fiber::Fiber(Schedule& schedule, std::function<void()> work, std::function<void()> ended)
    : schedule_(schedule), work_(std::move(work)), on_end_(std::move(ended)) {}

Fiber::~Fiber() {
  if (stack_ && !ended_) std::abort();
}

Fiber* Fiber::current() { return here.current; }
bool Fiber::reactor_was_stuck() { return std::exchange(here.reactor_was_stuck, false); }
void Fiber::set_reactor_runs(bool runs) {
  here.reactor_runs = runs;
  here.rounds_outside = 0;
}

void Fiber::enter() {
  Fiber& self = *here.current;
#ifdef SIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &here.asan_bottom, &here.asan_size);
#endif
  self.work_();
  self.ended_ = true;
  self.switch_out();
}

void Fiber::resume() {
  if (wakes_) schedule_.cancel(*std::exchange(wakes_, std::nullopt));
  if (!stack_) {
    if (here.stacks.empty()) here.stacks.push_back(std::make_unique<FiberStack>());
    stack_ = std::move(here.stacks.back());
    here.stacks.pop_back();
    ::getcontext(&context_);
    context_.uc_stack.ss_sp = stack_->memory;
    context_.uc_stack.ss_size = FiberStack::kBytes;
    ::makecontext(&context_, &Fiber::enter, 0);
  } else {
    std::erase(here.asleep, this);
  }
  here.current = this;
#ifdef SIM_ASAN
  __sanitizer_start_switch_fiber(&here.asan_outside, stack_->memory, FiberStack::kBytes);
#endif
#ifdef SIM_TSAN
  here.tsan_outside = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(stack_->tsan, 0);
#endif
  ::swapcontext(&outside_, &context_);
#ifdef SIM_ASAN
  __sanitizer_finish_switch_fiber(here.asan_outside, nullptr, nullptr);
#endif
  here.current = nullptr;
  if (!ended_) {
    here.asleep.push_back(this);
    return;
  }
  here.stacks.push_back(std::move(stack_));
  const auto ended = std::move(on_end_);
  ended();
}

void Fiber::switch_out() {
#ifdef SIM_ASAN
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(ended_ ? nullptr : &fake, here.asan_bottom, here.asan_size);
#endif
#ifdef SIM_TSAN
  __tsan_switch_to_fiber(here.tsan_outside, 0);
#endif
  ::swapcontext(&context_, &outside_);
#ifdef SIM_ASAN
  __sanitizer_finish_switch_fiber(fake, &here.asan_bottom, &here.asan_size);
#endif
}

void Fiber::sleep_until_resumed(Duration time) {
  wakes_ = schedule_.after(time, Action([this] {
                             wakes_.reset();
                             resume();
                           }));
  switch_out();
}

void Fiber::sleep(Duration time) {
  if (!hurried_) sleep_until_resumed(time);
}

void Fiber::hang(Duration time) {
  hangs_ = true;
  sleep(time);
  hangs_ = false;
}

// It looks again, less and less often: whoever holds the lock may wait for a disk that hangs.
void Fiber::wait_for_lock(unsigned round) {
  if (round > kDeadlock) {
    std::fputs("sim: locks are taken in both orders, or never given back\n", stderr);
    std::abort();
  }
  if (hurried_) return switch_out();  // whoever kills the process comes round again
  sleep_until_resumed(std::chrono::microseconds(20) * (1U << std::min(round, 12U)));
}

// Nothing else happens meanwhile, so the others go on at once; one whose disk hangs only when that
// helps nobody.
void wait_outside() {
  const bool is_stuck = here.rounds_outside++ > 100 + 10 * here.asleep.size();
  for (const bool hanging : {false, true}) {
    if (!hanging && is_stuck) continue;
    for (Fiber* fiber : here.asleep) {
      if (fiber->hangs_ != hanging) continue;
      if (hanging) {
        here.reactor_was_stuck = here.reactor_was_stuck || here.reactor_runs;
        fiber->hurry();
      }
      return fiber->resume();  // it goes to the end of the list
    }
  }
  std::fputs("sim: a lock outside of all fibers is never given back\n", stderr);
  std::abort();
}

namespace {

// `attempt` is a try-lock. `is_ours`: is it held in this thread? Other threads run other
// simulations and give back what they hold in common with us soon.
template <class Attempt, class IsOurs>
int lock_by(Attempt attempt, IsOurs is_ours) {
  for (unsigned round = 0;; ++round) {
    const int result = attempt();
    if (result != EBUSY) return result;
    if (!is_ours())
      ::sched_yield();
    else if (Fiber::current() != nullptr)
      Fiber::current()->wait_for_lock(round);
    else
      wait_outside();
  }
}

bool is_ours(const pthread_mutex_t* mutex) { return mutex->__data.__owner == ::gettid(); }

}  // namespace
}  // namespace shufflefs::sim

// NOLINTBEGIN(readability-identifier-naming): the names are POSIX's.
extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  using namespace shufflefs::sim;
  return lock_by([mutex] { return ::pthread_mutex_trylock(mutex); },
                 [mutex] { return is_ours(mutex); });
}

int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  using namespace shufflefs::sim;
  return lock_by([lock] { return ::pthread_rwlock_tryrdlock(lock); }, [] { return true; });
}

int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  using namespace shufflefs::sim;
  return lock_by([lock] { return ::pthread_rwlock_trywrlock(lock); }, [] { return true; });
}

// Wakes without a reason, as it may: whoever waits looks at what it waits for.
int pthread_cond_wait(pthread_cond_t* /*condition*/, pthread_mutex_t* mutex) {
  using namespace shufflefs::sim;
  ::pthread_mutex_unlock(mutex);
  if (Fiber::current() != nullptr)
    Fiber::current()->wait_for_lock(3);
  else
    wait_outside();
  return pthread_mutex_lock(mutex);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
