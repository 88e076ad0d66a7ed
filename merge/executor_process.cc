#include "merge/executor_process.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/parse.h"

namespace shufflefs::merge {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// Field 22 of /proc/<pid>/stat, counted behind the name in brackets, which may hold anything.
std::optional<uint64_t> start_time(int32_t pid) {
  const std::string stat = read_text(fmt::format("/proc/{}/stat", pid));
  const std::size_t bracket = stat.rfind(") ");
  if (bracket == std::string::npos) return std::nullopt;
  constexpr std::size_t kFieldsBetween = 19;
  const auto fields = split(std::string_view(stat).substr(bracket + 2), ' ');
  if (fields.size() <= kFieldsBetween) return std::nullopt;
  return parse_decimal(fields[kFieldsBetween]);
}

bool follows(const std::vector<std::string_view>& arguments, std::string_view option,
             std::string_view value) {
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (arguments[i] == option && arguments[i + 1] == value) return true;
  }
  return false;
}

}  // namespace

std::optional<ProcessMark> find_executor_process(std::string_view app, std::string_view executor) {
  std::optional<ProcessMark> found;
  std::error_code error;
  std::filesystem::directory_iterator it("/proc", error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    const auto pid = parse_decimal(it->path().filename().string(), INT32_MAX);
    if (!pid) continue;
    const std::string line = read_text(it->path().string() + "/cmdline");
    const auto arguments = split(line, '\0');
    if (!follows(arguments, "--app-id", app) || !follows(arguments, "--executor-id", executor))
      continue;
    const auto started = start_time(static_cast<int32_t>(*pid));
    if (!started) continue;
    // A shell that has started it may carry the same words: the younger one is the executor.
    const ProcessMark mark{static_cast<int32_t>(*pid), *started};
    if (!found || mark.start_time >= found->start_time) found = mark;
  }
  return found;
}

bool is_gone(const ProcessMark& process) {
  std::error_code error;
  if (!std::filesystem::exists("/proc/self/stat", error)) return false;
  const auto started = start_time(process.pid);
  return !started || *started != process.start_time;
}

}  // namespace shufflefs::merge
