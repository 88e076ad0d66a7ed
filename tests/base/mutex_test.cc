#include "base/mutex.h"

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <thread>
#include <vector>

using namespace shufflefs;

namespace {

class Counter {
 public:
  void add() EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    add_held();
    changed_.notify_all();
  }

  bool try_add() EXCLUDES(mu_) {
    if (!mu_.try_lock()) return false;
    const MutexLock lock(mu_, std::adopt_lock);
    add_held();
    return true;
  }

  int wait_until_at_least(int most) EXCLUDES(mu_) {
    MutexLock lock(mu_);
    while (count_ < most) changed_.wait(lock);
    return count_;
  }

  bool wait_a_moment() EXCLUDES(mu_) {
    MutexLock lock(mu_);
    const int before = count_;
    while (count_ == before)
      if (!changed_.wait_for(lock, std::chrono::milliseconds(1))) break;
    return count_ != before;
  }

  template <class Work>
  int add_around(const Work& work) EXCLUDES(mu_) {
    MutexLock lock(mu_);
    add_held();
    lock.unlock();
    work();
    lock.lock();
    add_held();
    return count_;
  }

  // Gives the lock up and does not take it again.
  int add_early() EXCLUDES(mu_) {
    MutexLock lock(mu_);
    add_held();
    const int count = count_;
    lock.unlock();
    return count;
  }

  template <class Work>
  void while_held(const Work& work) EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    work();
  }

 private:
  void add_held() REQUIRES(mu_) { ++count_; }

  Mutex mu_;
  CondVar changed_;
  int count_ GUARDED_BY(mu_) = 0;
};

class Board {
 public:
  void write(int value) EXCLUDES(mu_) {
    const ExclusiveLock lock(mu_);
    value_ = value;
  }
  template <class Work>
  int read(const Work& work) EXCLUDES(mu_) {
    const SharedLock lock(mu_);
    work();
    return value_;
  }
  bool may_write() EXCLUDES(mu_) {
    if (!mu_.try_lock()) return false;
    mu_.unlock();
    return true;
  }
  bool may_read() EXCLUDES(mu_) {
    if (!mu_.try_lock_shared()) return false;
    mu_.unlock_shared();
    return true;
  }

 private:
  SharedMutex mu_;
  int value_ GUARDED_BY(mu_) = 0;
};

template <class Work>
void on_a_thread(const Work& work) {
  std::thread thread(work);
  thread.join();
}

}  // namespace

TEST_CASE("mutex: threads add under the lock, and one waits for them") {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) counter.add();
    });
  CHECK(counter.wait_until_at_least(4000) == 4000);
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("mutex: a wait with an end returns though nothing changes") {
  Counter counter;
  CHECK_FALSE(counter.wait_a_moment());
}

TEST_CASE("mutex: try_lock fails while another thread holds it") {
  Counter counter;
  CHECK(counter.try_add());
  bool added = true;
  counter.while_held([&] { on_a_thread([&] { added = counter.try_add(); }); });
  CHECK_FALSE(added);
  CHECK(counter.try_add());
}

TEST_CASE("mutex: a lock that is given up in the middle lets others in") {
  Counter counter;
  CHECK(counter.add_around([&] { on_a_thread([&] { counter.add(); }); }) == 3);
  CHECK(counter.add_early() == 4);
  CHECK(counter.try_add());
}

TEST_CASE("shared mutex: readers let readers in, and no writer") {
  Board board;
  board.write(7);
  bool may_read = false;
  bool may_write = true;
  CHECK(board.read([&] {
    on_a_thread([&] {
      may_read = board.may_read();
      may_write = board.may_write();
    });
  }) == 7);
  CHECK(may_read);
  CHECK_FALSE(may_write);
  CHECK(board.may_write());
}
