#include "net/ess/auth/digest_directives.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shufflefs::net::ess {
namespace {

Error format_error(std::string message) { return make_error(Code::kProtocol, std::move(message)); }

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, {}, lower, lower);
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  // Skips white space and empty elements; false at the end.
  bool next_element() {
    while (!rest_.empty() && (is_space(rest_.front()) || rest_.front() == ','))
      rest_.remove_prefix(1);
    return !rest_.empty();
  }

  Result<std::string_view> key() {
    std::size_t size = 0;
    while (size < rest_.size() && rest_[size] != '=' && rest_[size] != ',' &&
           !is_space(rest_[size]))
      ++size;
    const std::string_view key = rest_.substr(0, size);
    rest_.remove_prefix(size);
    skip_space();
    if (key.empty()) return format_error("Empty directive key");
    if (rest_.empty() || rest_.front() != '=')
      return format_error(fmt::format("'=' expected after key: {}", key));
    rest_.remove_prefix(1);
    skip_space();
    if (rest_.empty()) return format_error(fmt::format("Valueless directive found: {}", key));
    return key;
  }

  Result<std::string> value(std::string_view key) {
    return rest_.front() == '"' ? quoted_value(key) : plain_value();
  }

 private:
  void skip_space() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }

  std::string plain_value() {
    const std::size_t size = std::min(rest_.find_first_of(", \t\r\n"), rest_.size());
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }

  Result<std::string> quoted_value(std::string_view key) {
    std::string value;
    for (std::size_t at = 1; at < rest_.size(); ++at) {
      if (rest_[at] == '\\' && at + 1 < rest_.size()) {
        value.push_back(rest_[++at]);
      } else if (rest_[at] == '"') {
        rest_.remove_prefix(at + 1);
        if (rest_.empty() || rest_.front() == ',' || is_space(rest_.front())) return value;
        return format_error(
            fmt::format("Expecting comma or linear whitespace after quoted string: \"{}\"", value));
      } else {
        value.push_back(rest_[at]);
      }
    }
    return format_error(
        fmt::format("Unmatched quote found for directive: {} with value: {}", key, value));
  }

  std::string_view rest_;
};

using Field = std::optional<std::string> DigestDirectives::*;

constexpr std::array<std::pair<std::string_view, Field>, 10> kFields = {{
    {"username", &DigestDirectives::username},
    {"realm", &DigestDirectives::realm},
    {"nonce", &DigestDirectives::nonce},
    {"cnonce", &DigestDirectives::cnonce},
    {"qop", &DigestDirectives::qop},
    {"digest-uri", &DigestDirectives::digest_uri},
    {"response", &DigestDirectives::response},
    {"charset", &DigestDirectives::charset},
    {"cipher", &DigestDirectives::cipher},
    {"authzid", &DigestDirectives::authzid},
}};

}  // namespace

Result<DigestDirectives> parse_directives(std::string_view text) {
  DigestDirectives directives;
  Scanner scanner(text);
  while (scanner.next_element()) {
    TRY_ASSIGN(const std::string_view key, scanner.key());
    TRY_ASSIGN(std::string value, scanner.value(key));
    // Others (nc, maxbuf, auth-param) decide nothing here: the count is always 1, and Spark cuts
    // its pieces by its own setting.
    const auto* known = std::ranges::find_if(
        kFields, [&](const auto& field) { return same_name(field.first, key); });
    if (known == kFields.end()) continue;
    std::optional<std::string>& field = directives.*(known->second);
    if (field) {
      return format_error(
          fmt::format("DIGEST-MD5: peer sent more than one {} directive: {}", key, value));
    }
    field = std::move(value);
  }
  return directives;
}

}  // namespace shufflefs::net::ess
