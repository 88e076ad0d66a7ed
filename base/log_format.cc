// How a line of the log is written; the contract is in base/log.h.
#include "base/escape.h"
#include "base/log.h"

namespace shufflefs {
std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "info";
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (text == to_string(level)) return level;
  }
  return std::nullopt;
}

std::string_view to_string(LogFormat format) {
  switch (format) {
    case LogFormat::kText: return "text";
    case LogFormat::kJson: return "json";
    case LogFormat::kJournald: return "journald";
  }
  return "text";
}

std::optional<LogFormat> parse_log_format(std::string_view text) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson, LogFormat::kJournald}) {
    if (text == to_string(format)) return format;
  }
  return std::nullopt;
}

std::string format_log_line(std::string_view code, LogFields fields) {
  std::string line(code);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_log_value(line, field.value);
  }
  return line;
}

std::string format_log_json(std::string_view code, LogFields fields) {
  std::string line = "\"event\":";
  append_json_string(line, code);
  for (const LogField& field : fields) {
    line += ',';
    append_json_string(line, field.key);
    line += ':';
    append_json_string(line, field.value);
  }
  return line;
}

LogLimiter::Verdict LogLimiter::ask(std::string_view code,
                                    std::chrono::steady_clock::time_point now) {
  constexpr int kBurst = 10;
  constexpr auto kWindow = std::chrono::seconds(10);
  Window& window = windows_.try_emplace(std::string(code), Window{now}).first->second;
  Verdict verdict;
  if (now - window.start >= kWindow) {
    verdict.suppressed = window.suppressed;
    window = Window{now};
  }
  verdict.passes = window.passed < kBurst;
  if (verdict.passes) {
    ++window.passed;
  } else {
    ++window.suppressed;
    any_suppressed_ = true;
  }
  return verdict;
}

std::optional<std::pair<std::string, uint64_t>> LogLimiter::take_untold(
    std::chrono::steady_clock::time_point now) {
  constexpr auto kWindow = std::chrono::seconds(10);
  if (!any_suppressed_) return std::nullopt;
  any_suppressed_ = false;
  for (auto& [code, window] : windows_) {
    if (window.suppressed == 0) continue;
    any_suppressed_ = true;
    if (now - window.start >= kWindow) return std::pair(code, std::exchange(window.suppressed, 0));
  }
  return std::nullopt;
}

}  // namespace shufflefs
