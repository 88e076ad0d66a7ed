// Locks that the compiler checks: a member that is GUARDED_BY(mu_) is touched only where mu_ is
// held, and a function that REQUIRES(mu_) is called only so. clang's -Wthread-safety proves it, as
// an error, for each function by itself; so a condition is a loop around wait(), not a lambda.
//
//   Mutex mu_;
//   int size_ GUARDED_BY(mu_) = 0;
//   void grow() REQUIRES(mu_);         // the caller holds mu_
//   void clear() EXCLUDES(mu_);        // takes mu_ itself
//
//   MutexLock lock(mu_);
//   while (size_ == 0) changed_.wait(lock);
//   lock.unlock();                     // given up in the middle ...
//   lock.lock();                       // ... and taken again
//
//   if (mu_.try_lock()) {
//     const MutexLock lock(mu_, std::adopt_lock);
//
// Threads: all of it from any thread. Nothing here throws or fails; a lock is never held over a
// co_await, as the coroutine may go on elsewhere.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#ifdef __clang__
#define SHUFFLEFS_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define SHUFFLEFS_THREAD_ATTRIBUTE(x)
#endif

// Of a type: a lock, and an object that holds one as long as it lives.
#define CAPABILITY(name) SHUFFLEFS_THREAD_ATTRIBUTE(capability(name))
#define SCOPED_CAPABILITY SHUFFLEFS_THREAD_ATTRIBUTE(scoped_lockable)

// Of a member: needs the lock; what the pointer leads to needs the lock; the order of two locks.
#define GUARDED_BY(x) SHUFFLEFS_THREAD_ATTRIBUTE(guarded_by(x))
#define PT_GUARDED_BY(x) SHUFFLEFS_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define ACQUIRED_BEFORE(...) SHUFFLEFS_THREAD_ATTRIBUTE(acquired_before(__VA_ARGS__))
#define ACQUIRED_AFTER(...) SHUFFLEFS_THREAD_ATTRIBUTE(acquired_after(__VA_ARGS__))

// Of a function: its caller holds the lock, or does not.
#define REQUIRES(...) SHUFFLEFS_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) SHUFFLEFS_THREAD_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
#define EXCLUDES(...) SHUFFLEFS_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))

// Of a function: it takes the lock, or gives it up.
#define ACQUIRE(...) SHUFFLEFS_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) SHUFFLEFS_THREAD_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) SHUFFLEFS_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRE_SHARED(...) \
  SHUFFLEFS_THREAD_ATTRIBUTE(try_acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) SHUFFLEFS_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) SHUFFLEFS_THREAD_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) SHUFFLEFS_THREAD_ATTRIBUTE(release_generic_capability(__VA_ARGS__))

// Of a function: it returns the lock; the lock is held from here on, which cannot be seen here;
// not checked, for a reason that stands beside it.
#define RETURN_CAPABILITY(x) SHUFFLEFS_THREAD_ATTRIBUTE(lock_returned(x))
#define ASSERT_CAPABILITY(...) SHUFFLEFS_THREAD_ATTRIBUTE(assert_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS SHUFFLEFS_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace shufflefs {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE() { mu_.lock(); }
  void unlock() RELEASE() { mu_.unlock(); }
  [[nodiscard]] bool try_lock() TRY_ACQUIRE(true) { return mu_.try_lock(); }
  // Tells the analysis that the lock is held where it cannot see it: in a lambda that is called
  // under the lock. It checks nothing.
  void assert_held() const ASSERT_CAPABILITY() {}

 private:
  friend class CondVar;
  friend class MutexLock;
  std::mutex mu_;
};

// Many readers or one writer.
class CAPABILITY("shared mutex") SharedMutex {
 public:
  SharedMutex() = default;
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void lock() ACQUIRE() { mu_.lock(); }
  void unlock() RELEASE() { mu_.unlock(); }
  [[nodiscard]] bool try_lock() TRY_ACQUIRE(true) { return mu_.try_lock(); }
  void lock_shared() ACQUIRE_SHARED() { mu_.lock_shared(); }
  void unlock_shared() RELEASE_SHARED() { mu_.unlock_shared(); }
  [[nodiscard]] bool try_lock_shared() TRY_ACQUIRE_SHARED(true) { return mu_.try_lock_shared(); }

 private:
  std::shared_mutex mu_;
};

// Holds a Mutex to the end of the block, but for the time between unlock() and lock().
class SCOPED_CAPABILITY [[nodiscard]] MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ACQUIRE(mu) : lock_(mu.mu_) {}
  // Of a lock that this thread has taken already.
  MutexLock(Mutex& mu, std::adopt_lock_t /*held*/) REQUIRES(mu) : lock_(mu.mu_, std::adopt_lock) {}
  ~MutexLock() RELEASE() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void unlock() RELEASE() { lock_.unlock(); }
  void lock() ACQUIRE() { lock_.lock(); }

 private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

// Holds a SharedMutex as its only writer.
class SCOPED_CAPABILITY [[nodiscard]] ExclusiveLock {
 public:
  explicit ExclusiveLock(SharedMutex& mu) ACQUIRE(mu) : mu_(mu) { mu_.lock(); }
  ~ExclusiveLock() RELEASE() { mu_.unlock(); }
  ExclusiveLock(const ExclusiveLock&) = delete;
  ExclusiveLock& operator=(const ExclusiveLock&) = delete;

 private:
  SharedMutex& mu_;
};

// Holds a SharedMutex as one of its readers.
class SCOPED_CAPABILITY [[nodiscard]] SharedLock {
 public:
  explicit SharedLock(SharedMutex& mu) ACQUIRE_SHARED(mu) : mu_(mu) { mu_.lock_shared(); }
  ~SharedLock() RELEASE_GENERIC() { mu_.unlock_shared(); }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;

 private:
  SharedMutex& mu_;
};

// What threads that hold a Mutex wait for. A wait gives the lock up and takes it again, and may
// return early: it stands in a loop that looks at the condition. It takes the MutexLock, or, where
// there is none in sight, the Mutex.
class CondVar {
 public:
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

  void wait(MutexLock& lock) { changed_.wait(lock.lock_); }
  void wait(Mutex& mu) REQUIRES(mu) {
    std::unique_lock lock(mu.mu_, std::adopt_lock);
    changed_.wait(lock);
    lock.release();
  }
  // False if the time was over first.
  template <class Clock, class Duration>
  bool wait_until(MutexLock& lock, std::chrono::time_point<Clock, Duration> end) {
    return changed_.wait_until(lock.lock_, end) == std::cv_status::no_timeout;
  }
  template <class Rep, class Period>
  bool wait_for(MutexLock& lock, std::chrono::duration<Rep, Period> most) {
    return wait_until(lock, std::chrono::steady_clock::now() + most);
  }

 private:
  std::condition_variable changed_;
};

}  // namespace shufflefs
