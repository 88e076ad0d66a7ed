// Work on the disk threads with a timeout: a hanging disk must not hang what people look at. The
// work itself cannot be cancelled. It goes on, and until it has ended, further work is refused at
// once. So a hanging disk holds a bounded number of jobs, and only the first caller waits.
//
// Threads: reactor. Ownership: the Runtime outlives it; what `work` refers to outlives close().
// Failure: Code::kTimeout, with the name.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/gate.h"

namespace shufflefs {

class BoundedOffload {
 public:
  // `what` is said of work that is late: "<what> is late: a disk does not answer".
  BoundedOffload(Runtime& runtime, std::string what, Duration timeout)
      : runtime_(runtime), what_(std::move(what)), timeout_(timeout), gate_(runtime, what_) {}

  template <class Work>
  [[nodiscard]] Task<Result<std::invoke_result_t<Work>>> run(Work work) {
    if (*late_ > 0) co_return is_late();
    auto job = std::make_shared<Job<std::invoke_result_t<Work>>>(runtime_);
    gate_.spawn(run_job(runtime_, std::move(work), job, late_));
    if (co_await job->done.wait_for(timeout_)) co_return std::move(*job->value);
    job->is_late = true;
    ++*late_;
    co_return is_late();
  }

  // Waits for what is late. Idempotent.
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  template <class Value>
  struct Job {
    explicit Job(Runtime& runtime) : done(runtime) {}
    std::optional<Value> value;
    Event done;
    bool is_late = false;
  };

  template <class Work, class Value>
  static Task<void> run_job(Runtime& runtime, Work work, std::shared_ptr<Job<Value>> job,
                            std::shared_ptr<std::size_t> late) {
    job->value.emplace(co_await offload(runtime, std::move(work)));
    if (job->is_late) --*late;
    job->done.set();
  }

  [[nodiscard]] Error is_late() const {
    return make_error(Code::kTimeout, what_ + " is late: a disk does not answer");
  }

  Runtime& runtime_;
  const std::string what_;
  const Duration timeout_;
  std::shared_ptr<std::size_t> late_ = std::make_shared<std::size_t>(0);
  Gate gate_;
};

}  // namespace shufflefs
