#include "main/doctor/spark_conf.h"

#include <sstream>

namespace shufflefs::doctor {
namespace {

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n\f";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::string unquoted(const std::string& text) {
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
                      text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

SparkConf parse_spark_defaults(const std::string& text) {
  SparkConf conf;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#' || line.front() == '!') continue;
    const std::size_t key_end = line.find_first_of(" \t=:");
    if (key_end == std::string::npos) continue;
    // Blanks, then at most one = or :, then blanks.
    std::size_t value = line.find_first_not_of(" \t", key_end);
    if (value != std::string::npos && (line[value] == '=' || line[value] == ':')) ++value;
    conf[line.substr(0, key_end)] = value == std::string::npos ? "" : trimmed(line.substr(value));
  }
  return conf;
}

SparkConf parse_spark_env(const std::string& text) {
  SparkConf conf;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line);
    if (line.starts_with("export ")) line = trimmed(line.substr(7));
    const std::size_t equals = line.find('=');
    if (line.empty() || line.front() == '#' || equals == std::string::npos) continue;
    conf[line.substr(0, equals)] = unquoted(trimmed(line.substr(equals + 1)));
  }
  return conf;
}

}  // namespace shufflefs::doctor
