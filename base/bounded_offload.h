// Work on the disk threads that the caller does not wait for longer than it has patience: for what
// people look at, which a hanging disk must not make hang. The work itself cannot be given up; it
// goes on, and until it has ended, further work is refused at once. So a hanging disk holds a
// bounded number of jobs, and only the first who asks waits.
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
  BoundedOffload(Runtime& runtime, std::string what, Duration patience)
      : runtime_(runtime), what_(std::move(what)), patience_(patience), gate_(runtime, what_) {}

  template <class Work>
  [[nodiscard]] Task<Result<std::invoke_result_t<Work>>> run(Work work) {
    if (*late_ > 0) co_return is_late();
    auto job = std::make_shared<Job<std::invoke_result_t<Work>>>();
    job->done = runtime_.make_timer();
    gate_.spawn(run_job(runtime_, std::move(work), job, late_));
    if (!job->value) co_await job->done->wait_for(patience_);
    if (job->value) co_return std::move(*job->value);
    job->is_late = true;
    ++*late_;
    co_return is_late();
  }

  // Waits for what is late. Idempotent.
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  template <class Value>
  struct Job {
    std::optional<Value> value;
    std::unique_ptr<Timer> done;
    bool is_late = false;
  };

  template <class Work, class Value>
  static Task<void> run_job(Runtime& runtime, Work work, std::shared_ptr<Job<Value>> job,
                            std::shared_ptr<std::size_t> late) {
    job->value.emplace(co_await offload(runtime, std::move(work)));
    if (job->is_late) --*late;
    job->done->wake();
  }

  [[nodiscard]] Error is_late() const {
    return make_error(Code::kTimeout, what_ + " is late: a disk does not answer");
  }

  Runtime& runtime_;
  const std::string what_;
  const Duration patience_;
  std::shared_ptr<std::size_t> late_ = std::make_shared<std::size_t>(0);
  Gate gate_;
};

}  // namespace shufflefs
