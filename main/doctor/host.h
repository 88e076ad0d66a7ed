// The machine as the doctor reads it: files of /proc, /sys and /etc, below a root that is a
// directory of made-up files in tests.
//
// Threads: one. Failure: what cannot be read is empty.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace shufflefs::doctor {

class Host {
 public:
  explicit Host(std::string root = "") : root_(std::move(root)) {}

  // The whole file; empty if there is none.
  [[nodiscard]] std::string read(const std::string& path) const;
  [[nodiscard]] bool exists(const std::string& path) const;
  // The first line without blanks at its ends.
  [[nodiscard]] std::string line(const std::string& path) const;
  // Names in a directory, sorted.
  [[nodiscard]] std::vector<std::string> list(const std::string& path) const;
  // The target of a symbolic link; empty if it is none.
  [[nodiscard]] std::string link(const std::string& path) const;

 private:
  std::string root_;
};

// The words of a process: its command line and its environment.
struct Process {
  pid_t pid = 0;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;

  [[nodiscard]] bool has_argument(std::string_view text) const;
  [[nodiscard]] std::optional<std::string> variable(std::string_view name) const;
  // "java (pid 812, ...Worker)": enough to find it.
  [[nodiscard]] std::string label() const;
};
[[nodiscard]] std::vector<Process> processes(const Host& host);
[[nodiscard]] Process process_of(const Host& host, pid_t pid);

// Runs `work` in a child process and returns its text: for calls into a mount that may hang, and
// for what must leave no trace in this process. The child is killed when the time is over.
// REQUIRES: no other thread runs. kTimeout; else the error of `work`.
[[nodiscard]] Result<std::string> in_child(const std::function<Result<std::string>()>& work,
                                           std::chrono::milliseconds patience);

}  // namespace shufflefs::doctor
