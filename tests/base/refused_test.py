"""What the compiler must take, and what it must refuse: each line is a function, compiled with all the others."""
import os
import re
import subprocess
import unittest

COMPILER = os.environ["SHUFFLEFS_COMPILER"]
SOURCE = os.environ["SHUFFLEFS_SOURCE"]

LOCKS = """
#include "base/mutex.h"
using namespace shufflefs;
class Guarded {
 public:
  int get_held() REQUIRES(mu_) { return count_; }
  int get_free() EXCLUDES(mu_) { const MutexLock lock(mu_); return count_; }
  Mutex mu_;
  CondVar changed_;
  int count_ GUARDED_BY(mu_) = 0;
  int* far_ PT_GUARDED_BY(mu_) = &count_;
  Mutex first_ ACQUIRED_BEFORE(mu_);
  SharedMutex shared_;
  int value_ GUARDED_BY(shared_) = 0;
  FUNCTIONS
};
"""
RESULTS = """
#include <boost/asio/awaitable.hpp>
#include "base/result.h"
using namespace shufflefs;
Status status();
Result<int> number();
boost::asio::awaitable<Status> later();
FUNCTIONS
"""


def refusals(source, functions):
    """The warning that each function gave, or nothing."""
    first = source[:source.index("FUNCTIONS")].count("\n") + 1
    run = subprocess.run(
        [COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wthread-safety", "-Wthread-safety-beta", "-Werror",
         "-ferror-limit=0", "-I", SOURCE, "-x", "c++", "-"],
        input=source.replace("FUNCTIONS", "\n".join(functions)), capture_output=True, text=True, timeout=300)
    said = {}
    for line, warning in re.findall(r"^<stdin>:(\d+):\d+: error: .*\[-Werror,-W([\w-]+)\]$", run.stderr, re.MULTILINE):
        said[int(line) - first] = warning
    errors = len(re.findall(r": error: ", run.stderr))
    assert errors >= len(said) and (errors == 0) == (run.returncode == 0), run.stderr
    assert run.stderr.count("<stdin>") > 0 or errors == 0, run.stderr
    return [said.get(number, "") for number in range(len(functions))]


class Refused(unittest.TestCase):
    def check(self, source, bodies, wanted, function):
        said = refusals(source, [function(number, body) for number, body in enumerate(bodies)])
        for body, warning in zip(bodies, said):
            with self.subTest(body):
                self.assertEqual(warning, "") if wanted == "" else self.assertTrue(warning.startswith(wanted), warning)

    def locks(self, bodies, wanted):
        self.check(LOCKS, bodies, wanted, lambda number, body: f"int f{number}() {{ {body} }}")

    def test_locks_that_are_held(self):
        self.locks(("const MutexLock lock(mu_); return count_;",
                    "const MutexLock lock(mu_); return get_held();",
                    "const MutexLock lock(mu_); return *far_;",
                    "return get_free();",
                    "MutexLock lock(mu_); lock.unlock(); lock.lock(); return count_;",
                    "MutexLock lock(mu_); while (count_ == 0) changed_.wait(lock); return count_;",
                    "const MutexLock lock(mu_); while (count_ == 0) changed_.wait(mu_); return count_;",
                    "if (!mu_.try_lock()) return 0; const MutexLock lock(mu_, std::adopt_lock); return count_;",
                    "const MutexLock first(first_); const MutexLock lock(mu_); return count_;",
                    "const ExclusiveLock lock(shared_); value_ = 1; return 0;",
                    "const SharedLock lock(shared_); return value_;"), "")

    def test_locks_that_are_not_held(self):
        self.locks(("return count_;",
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
                    "const MutexLock lock(mu_); auto get = [&] { return count_; }; return get();",
                    "const MutexLock lock(mu_); const MutexLock second(first_); return count_;",
                    "const SharedLock lock(shared_); value_ = 1; return 0;"), "thread-safety")

    def results(self, bodies, wanted):
        self.check(RESULTS, bodies, wanted,
                   lambda number, body: f"boost::asio::awaitable<void> f{number}() {{ {body} co_return; }}")

    def test_a_result_that_is_looked_at(self):
        self.results(("(void)status();", "(void)co_await later();", "if (!number()) co_return;"), "")

    def test_a_result_that_is_ignored(self):
        self.results(("status();", "number();", "co_await later();"), "unused-result")


if __name__ == "__main__":
    unittest.main()
