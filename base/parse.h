// Strict parsing of numbers and sizes from names, options and files. Nothing is skipped or guessed:
// "+1", "01", " 1", "1x" and "" are errors, so that a number has exactly one spelling and names can
// be compared as strings.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shufflefs {

// A canonical decimal number in [0, max]; nothing otherwise.
[[nodiscard]] std::optional<uint64_t> parse_decimal(std::string_view text,
                                                    uint64_t max = UINT64_MAX);

// Bytes: a number with an optional unit K, M, G, T (powers of 1024; "KiB", "KB" and lower case are
// taken too).
[[nodiscard]] Result<uint64_t> parse_bytes(std::string_view text);

// Milliseconds: a number with the unit ms, s, m or h ("500ms", "30s", "2m"); a bare number means
// seconds.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);

// "64 MiB", "1.5 GiB", "812 B": for people.
[[nodiscard]] std::string format_bytes(uint64_t bytes);

struct HostPort {
  std::string host;  // an IPv4 or IPv6 address without brackets, or a name
  uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// "127.0.0.1:7338", "[::1]:7338", "name:7338"; without a port, `default_port` (0: the port is
// required).
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text, uint16_t default_port = 0);
[[nodiscard]] std::string to_string(const HostPort& address);

[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace shufflefs
