// A flag that is set as long as the guard lives, however its scope is left.
//
// Threads: whoever owns the flag. Ownership: the flag outlives the guard.
#pragma once

namespace shufflefs {

class FlagGuard {
 public:
  explicit FlagGuard(bool& flag) : flag_(flag) { flag_ = true; }
  ~FlagGuard() { flag_ = false; }
  FlagGuard(const FlagGuard&) = delete;
  FlagGuard& operator=(const FlagGuard&) = delete;

 private:
  bool& flag_;
};

}  // namespace shufflefs
