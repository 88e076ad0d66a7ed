"""What the compiler must refuse: each snippet is compiled as it is, which works, and with its fault, which does not."""
import os
import subprocess
import unittest

COMPILER = os.environ["SHUFFLEFS_COMPILER"]
SOURCE = os.environ["SHUFFLEFS_SOURCE"]

COUNTER = """
#include "base/mutex.h"
using namespace shufflefs;
class Counter {
 public:
  int get() { BODY }
  int get_held() REQUIRES(mu_) { return count_; }
  int get_free() EXCLUDES(mu_) { const MutexLock lock(mu_); return count_; }
  Mutex mu_;
  CondVar changed_;
  int count_ GUARDED_BY(mu_) = 0;
  int* far_ PT_GUARDED_BY(mu_) = &count_;
};
class Board {
 public:
  void set() { WRITE }
  SharedMutex mu_;
  int value_ GUARDED_BY(mu_) = 0;
};
"""


def refusal(source):
    """What the compiler says of a source; nothing if it takes it."""
    run = subprocess.run(
        [COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wthread-safety", "-Werror", "-I", SOURCE, "-x", "c++", "-"],
        input=source, capture_output=True, text=True, timeout=120)
    return run.stderr if run.returncode else ""


def counter(body="return 0;", write=""):
    return refusal(COUNTER.replace("BODY", body).replace("WRITE", write))


class Locks(unittest.TestCase):
    def test_what_is_in_order_is_taken(self):
        for body in ("const MutexLock lock(mu_); return count_;",
                     "const MutexLock lock(mu_); return get_held();",
                     "const MutexLock lock(mu_); return *far_;",
                     "return get_free();",
                     "MutexLock lock(mu_); lock.unlock(); lock.lock(); return count_;",
                     "MutexLock lock(mu_); while (count_ == 0) changed_.wait(lock); return count_;",
                     "const MutexLock lock(mu_); while (count_ == 0) changed_.wait(mu_); return count_;",
                     "if (!mu_.try_lock()) return 0; const MutexLock lock(mu_, std::adopt_lock); return count_;"):
            with self.subTest(body):
                self.assertEqual(counter(body), "")
        self.assertEqual(counter(write="const ExclusiveLock lock(mu_); value_ = 1;"), "")
        self.assertEqual(counter(write="const SharedLock lock(mu_); (void)value_;"), "")

    def test_what_is_not_in_order_is_refused(self):
        for body in ("return count_;",
                     "return get_held();",
                     "return *far_;",
                     "const MutexLock lock(mu_); return get_free();",
                     "MutexLock lock(mu_); lock.unlock(); return count_;",
                     "MutexLock lock(mu_); lock.lock(); return count_;",
                     "(void)mu_.try_lock(); return count_;",
                     "if (mu_.try_lock()) return count_; return 0;",
                     "mu_.lock(); return 0;",
                     "changed_.wait(mu_); return 0;",
                     "const MutexLock lock(mu_, std::adopt_lock); return count_;",
                     "const MutexLock lock(mu_); auto get = [&] { return count_; }; return get();"):
            with self.subTest(body):
                self.assertIn("-Wthread-safety", counter(body))

    def test_a_reader_does_not_write(self):
        self.assertIn("-Wthread-safety", counter(write="const SharedLock lock(mu_); value_ = 1;"))


if __name__ == "__main__":
    unittest.main()
