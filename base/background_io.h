// While it exists, the calling thread's reads from disks go behind everybody else's (the idle class
// of ioprio_set(2)). Heeded by the I/O schedulers mq-deadline and bfq, not by kyber and none; for
// what is in the page cache, and for buffered writes, it means nothing (docs/benchmarks.md).
//
// Threads: made and destroyed on the same one. Failure: none that matters, the thread then reads as
// always. Cost: two system calls, 0.3 us.
#pragma once

namespace shufflefs {

class BackgroundIo {
 public:
  BackgroundIo();
  ~BackgroundIo();
  BackgroundIo(const BackgroundIo&) = delete;
  BackgroundIo& operator=(const BackgroundIo&) = delete;

  // The class of the calling thread, as ioprio_get(2) has it.
  [[nodiscard]] static int priority_class();
  static constexpr int kIdleClass = 3;

 private:
  const int before_;
};

}  // namespace shufflefs
