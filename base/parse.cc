#include "base/parse.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace shufflefs {

std::optional<uint64_t> parse_decimal(std::string_view text, uint64_t max) {
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

namespace {

// Splits "64MiB" into 64 and "MiB".
std::optional<std::pair<uint64_t, std::string>> number_and_unit(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_decimal(text.substr(0, digits));
  if (!number) return std::nullopt;
  std::string unit(text.substr(digits));
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::pair{*number, std::move(unit)};
}

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  auto bad = [&] {
    return make_error(
        Code::kInvalidArgument,
        fmt::format(
            "'{}' is not a size: write a number of bytes, or one with K, M, G or T (512M, 4GiB)",
            text));
  };
  const auto parsed = number_and_unit(text);
  if (!parsed) return bad();
  std::string unit = parsed->second;
  if (unit.ends_with("ib")) unit.resize(unit.size() - 2);
  if (unit.size() > 1 && unit.ends_with('b')) unit.resize(unit.size() - 1);
  constexpr std::string_view kUnits = "kmgt";
  unsigned shift = 0;
  if (unit.size() == 1 && unit != "b") {
    const auto at = kUnits.find(unit[0]);
    if (at == std::string_view::npos) return bad();
    shift = 10U * (static_cast<unsigned>(at) + 1U);
  } else if (!unit.empty() && unit != "b") {
    return bad();
  }
  if (shift != 0 && parsed->first > (UINT64_MAX >> shift)) return bad();
  return parsed->first << shift;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto parsed = number_and_unit(text);
  constexpr uint64_t kMaxMs = 1000ULL * 60 * 60 * 24 * 365;
  uint64_t scale = 0;
  if (parsed) {
    const std::string& unit = parsed->second;
    if (unit == "ms") scale = 1;
    if (unit.empty() || unit == "s") scale = 1000;
    if (unit == "m") scale = 60'000;
    if (unit == "h") scale = 3'600'000;
  }
  if (scale == 0 || parsed->first > kMaxMs / scale) {
    return make_error(
        Code::kInvalidArgument,
        fmt::format("'{}' is not a duration: write a number with ms, s, m or h (500ms, 30s, 2m)",
                    text));
  }
  return std::chrono::milliseconds(parsed->first * scale);
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return value < 10.0 ? fmt::format("{:.1f} {}", value, kUnits.at(unit))
                      : fmt::format("{:.0f} {}", value, kUnits.at(unit));
}

Result<HostPort> parse_host_port(std::string_view text, uint16_t default_port) {
  auto bad = [&](std::string_view why) {
    return make_error(
        Code::kInvalidArgument,
        fmt::format("'{}' is not an address: {}; write ADDR:PORT (127.0.0.1:7338, [::1]:7338)",
                    text, why));
  };
  HostPort result;
  result.port = default_port;
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return bad("the bracket is not closed");
    result.host = text.substr(1, close - 1);
    rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return bad("a colon must follow the bracket");
    if (rest == ":" || (rest.empty() && default_port == 0)) return bad("the port is missing");
    if (!rest.empty()) rest.remove_prefix(1);
  } else {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos && default_port == 0) return bad("the port is missing");
    if (colon != std::string_view::npos && text.find(':') != colon)
      return bad("an IPv6 address needs brackets");
    result.host = text.substr(0, colon);
    if (colon != std::string_view::npos) rest = text.substr(colon + 1);
    if (colon != std::string_view::npos && rest.empty()) return bad("the port is missing");
  }
  if (result.host.empty()) return bad("the host is missing");
  if (!rest.empty()) {
    const auto port = parse_decimal(rest, 65535);
    if (!port || *port == 0) return bad("the port must be 1 to 65535");
    result.port = static_cast<uint16_t>(*port);
  }
  return result;
}

std::string to_string(const HostPort& address) {
  return address.host.find(':') == std::string::npos
             ? fmt::format("{}:{}", address.host, address.port)
             : fmt::format("[{}]:{}", address.host, address.port);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

}  // namespace shufflefs
