// The table of events against what the sources log, and docs/troubleshooting.md against the table.
#include "main/events.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace shufflefs {
namespace {

const std::string kSource = SHUFFLEFS_SOURCE_DIR;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Code -> the worst level that it is logged at. A call names its code in its first argument, or in
// its second after a level; a condition between two codes names both.
void scan(const std::string& text, std::map<std::string, LogLevel>& logged) {
  static const std::regex call(R"(\blog_(debug|info|warning|error|limited|event)\(([^{;]*)[{)])");
  static const std::regex code(R"re("([a-z_]+\.[a-z_]+)")re");
  static const std::regex level(R"(LogLevel::k(\w+))");
  for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) {
    const std::string kind = (*it)[1];
    const std::string arguments = (*it)[2];
    LogLevel worst = parse_log_level(kind).value_or(LogLevel::kDebug);
    for (std::sregex_iterator at(arguments.begin(), arguments.end(), level); at != end; ++at) {
      std::string name = (*at)[1];
      name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
      worst = std::max(worst, parse_log_level(name).value_or(LogLevel::kDebug));
    }
    for (std::sregex_iterator at(arguments.begin(), arguments.end(), code); at != end; ++at) {
      LogLevel& known = logged.try_emplace((*at)[1], worst).first->second;
      known = std::max(known, worst);
    }
  }
}

std::map<std::string, LogLevel> logged_in_sources() {
  std::map<std::string, LogLevel> logged;
  for (const char* folder : {"base", "merge", "net", "fs", "main"}) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(kSource + "/" + folder)) {
      const std::string path = entry.path().string();
      const bool is_source = path.ends_with(".cc") || path.ends_with(".h");
      if (is_source && !path.ends_with("/base/log.h")) scan(text_of(path), logged);
    }
  }
  return logged;
}

}  // namespace

TEST_CASE("events: the scan of the sources finds every form of a call") {
  std::map<std::string, LogLevel> logged;
  scan(R"(log_info("a.b", {{"x.y", 1}}); log_limited(LogLevel::kWarning,
       late ? "c.d" : "e.f", {}); log_debug("g.h"); log_error(
      "a.b");)",
       logged);
  CHECK(logged == std::map<std::string, LogLevel>{{"a.b", LogLevel::kError},
                                                  {"c.d", LogLevel::kWarning},
                                                  {"e.f", LogLevel::kWarning},
                                                  {"g.h", LogLevel::kDebug}});
}

TEST_CASE("events: what is logged is in the table of main/events.cc, and nothing else is") {
  const auto logged = logged_in_sources();
  CHECK(logged.size() > 80);
  std::map<std::string, LogLevel> table;
  for (const EventInfo& event : events()) {
    INFO(event.code);
    CHECK(table.try_emplace(std::string(event.code), event.level).second);
    CHECK(event.meaning.ends_with('.'));
    CHECK(logged.contains(std::string(event.code)));
  }
  for (const auto& [code, level] : logged) {
    INFO(code << ": add it to main/events.cc, with its meaning");
    CHECK(table.contains(code));
    if (table.contains(code)) CHECK(to_string(table[code]) == to_string(level));
  }
  CHECK(std::ranges::is_sorted(events(), {}, &EventInfo::code));
}

TEST_CASE("events: docs/troubleshooting.md says what to do about every warning and error") {
  const std::string page = text_of(kSource + "/docs/troubleshooting.md");
  for (const EventInfo& event : events()) {
    if (event.level < LogLevel::kWarning) continue;
    INFO(event.code);
    const bool is_there = page.find("`" + std::string(event.code) + "`") != std::string::npos;
    CHECK(is_there);
  }
}

}  // namespace shufflefs
