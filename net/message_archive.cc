#include "net/message_archive.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/escape.h"

namespace shufflefs::net {

void MessageReader::refuse(std::string_view what, std::string_view why) {
  if (failed()) return;
  error_ = make_error(Code::kProtocol, fmt::format("bad {} message: {}: {}", message_, what, why));
  rest_ = {};
}

std::optional<uint64_t> MessageReader::big_endian(std::size_t bytes) {
  if (rest_.size() < bytes) return std::nullopt;
  uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8U | std::to_integer<uint64_t>(rest_[i]);
  rest_ = rest_.subspan(bytes);
  return value;
}

std::optional<MessageReader::Token> MessageReader::next(std::string_view what) {
  using Kind = Token::Kind;
  if (failed()) return std::nullopt;
  const auto first = big_endian(1);
  if (!first) {
    refuse(what, "the message ends before it");
    return std::nullopt;
  }
  // The first byte, see https://github.com/msgpack/msgpack/blob/master/spec.md. Signed numbers,
  // floats, maps and extensions are not used by this protocol.
  const uint64_t byte = *first;
  if (byte <= 0x7f) return Token{Kind::kNumber, byte};
  if (byte >= 0x90 && byte <= 0x9f) return Token{Kind::kArray, byte & 0x0fU};
  if (byte >= 0xa0 && byte <= 0xbf) return Token{Kind::kText, byte & 0x1fU};
  if (byte == 0xc0) return Token{Kind::kNil, 0};
  if (byte == 0xc2 || byte == 0xc3) return Token{Kind::kBoolean, byte & 1U};
  auto sized = [&](Kind kind, std::size_t bytes) -> std::optional<Token> {
    const auto value = big_endian(bytes);
    if (value) return Token{kind, *value};
    refuse(what, "the message ends within it");
    return std::nullopt;
  };
  if (byte >= 0xc4 && byte <= 0xc6) return sized(Kind::kBinary, std::size_t{1} << (byte - 0xc4));
  if (byte >= 0xcc && byte <= 0xcf) return sized(Kind::kNumber, std::size_t{1} << (byte - 0xcc));
  if (byte >= 0xd9 && byte <= 0xdb) return sized(Kind::kText, std::size_t{1} << (byte - 0xd9));
  if (byte == 0xdc || byte == 0xdd) return sized(Kind::kArray, byte == 0xdc ? 2 : 4);
  return Token{Kind::kOther, byte};
}

std::optional<MessageReader::Token> MessageReader::next_of(std::string_view what, Token::Kind kind,
                                                           std::string_view name) {
  const auto token = next(what);
  if (token && token->kind != kind) {
    refuse(what, fmt::format("not {}", name));
    return std::nullopt;
  }
  return token;
}

void MessageReader::tuple(std::string_view what, std::size_t count) {
  const auto token = next_of(what, Token::Kind::kArray, "an array");
  if (token && token->value != count)
    refuse(what, fmt::format("{} fields instead of {}", token->value, count));
}

void MessageReader::open_tuple(std::string_view what, std::size_t count) {
  const auto token = next_of(what, Token::Kind::kArray, "an array");
  if (token && token->value < count)
    refuse(what, fmt::format("{} fields instead of at least {}", token->value, count));
}

std::size_t MessageReader::take_count(std::string_view what, std::size_t min_element_bytes,
                                      std::size_t max_count) {
  const auto token = next_of(what, Token::Kind::kArray, "an array");
  if (!token) return 0;
  if (token->value > rest_.size() / min_element_bytes) {
    refuse(what, fmt::format("{} elements cannot fit the {} bytes that are left", token->value,
                             rest_.size()));
    return 0;
  }
  if (token->value > max_count) {
    refuse(what, fmt::format("{} elements are above the limit of {}", token->value, max_count));
    return 0;
  }
  return token->value;
}

uint64_t MessageReader::take_number(std::string_view what, uint64_t min, uint64_t max) {
  const auto token = next_of(what, Token::Kind::kNumber, "an unsigned number");
  if (!token) return 0;
  if (token->value < min || token->value > max) {
    refuse(what, fmt::format("{} is not within {} to {}", token->value, min, max));
    return 0;
  }
  return token->value;
}

void MessageReader::boolean(std::string_view what, bool& value) {
  const auto token = next_of(what, Token::Kind::kBoolean, "a boolean");
  value = token && token->value != 0;
}

bool MessageReader::take_nil() {
  if (rest_.empty() || rest_.front() != std::byte{0xc0}) return false;
  rest_ = rest_.subspan(1);
  return true;
}

std::span<const std::byte> MessageReader::body(std::string_view what, Token::Kind kind,
                                               std::string_view name, std::size_t max_bytes) {
  const auto token = next_of(what, kind, name);
  if (!token) return {};
  if (token->value > max_bytes) {
    refuse(what, fmt::format("its length {} is above the limit of {}", token->value, max_bytes));
    return {};
  }
  if (token->value > rest_.size()) {
    refuse(what, "the message ends within it");
    return {};
  }
  const auto bytes = rest_.first(token->value);
  rest_ = rest_.subspan(token->value);
  return bytes;
}

std::string_view MessageReader::take_text(std::string_view what, std::size_t max_bytes) {
  const auto bytes = body(what, Token::Kind::kText, "a text", max_bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void MessageReader::bytes(std::string_view what, std::span<std::byte> into) {
  const auto found = body(what, Token::Kind::kBinary, "a byte string", into.size());
  if (failed()) return;
  if (found.size() == into.size())
    std::ranges::copy(found, into.begin());
  else
    refuse(what, fmt::format("{} bytes instead of {}", found.size(), into.size()));
}

void MessageReader::bytes(std::string_view what, std::vector<uint8_t>& value, uint64_t max_bytes) {
  const auto found = body(what, Token::Kind::kBinary, "a byte string", max_bytes);
  const auto* const from = reinterpret_cast<const uint8_t*>(found.data());
  value.assign(from, from + found.size());
}

void MessageWriter::text(std::string_view, std::string_view value, std::size_t max_bytes) {
  std::string escaped;
  if (!is_printable(value)) value = escaped = printable(value);
  value = text_prefix(value, max_bytes);
  packer_.pack_str(static_cast<uint32_t>(value.size()));
  packer_.pack_str_body(value.data(), static_cast<uint32_t>(value.size()));
}

void MessageWriter::bytes(std::string_view, std::span<const std::byte> value) {
  packer_.pack_bin(static_cast<uint32_t>(value.size()));
  packer_.pack_bin_body(reinterpret_cast<const char*>(value.data()),
                        static_cast<uint32_t>(value.size()));
}

}  // namespace shufflefs::net
