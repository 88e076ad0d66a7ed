// How a line of the log is written; the contract is in base/log.h.
#include <algorithm>

#include "base/log.h"

namespace shufflefs {
namespace {

void append_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\\") == std::string_view::npos &&
                     std::all_of(value.begin(), value.end(),
                                 [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (const char raw : value) {
    const auto c = static_cast<unsigned char>(raw);
    if (c == '"' || c == '\\') line += '\\';
    if (c < 0x20 || c == 0x7F)
      line += fmt::format("\\x{:02x}", c);
    else
      line += raw;
  }
  line += '"';
}

// The length of the UTF-8 sequence at the beginning of `text`; 0 if there is none (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80                     ? 1
                             : first >= 0xC2 && first <= 0xDF ? 2
                             : first >= 0xE0 && first <= 0xEF ? 3
                             : first >= 0xF0 && first <= 0xF4 ? 4
                                                              : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  // Overlong forms, surrogates, beyond U+10FFFF.
  const unsigned char second = length > 1 ? byte(1) : 0;
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
      (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
    return 0;
  return length;
}

void append_json(std::string& line, std::string_view text) {
  line += '"';
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto c = static_cast<unsigned char>(text.front());
    if (length == 0)
      line += "\\ufffd";
    else if (c == '"' || c == '\\')
      line += fmt::format("\\{}", text.front());
    else if (c < 0x20)
      line += fmt::format("\\u{:04x}", c);
    else
      line += text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  line += '"';
}

}  // namespace

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
    append_value(line, field.value);
  }
  return line;
}

std::string format_log_json(std::string_view code, LogFields fields) {
  std::string line = "\"event\":";
  append_json(line, code);
  for (const LogField& field : fields) {
    line += ',';
    append_json(line, field.key);
    line += ':';
    append_json(line, field.value);
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
