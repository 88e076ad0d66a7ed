#include "base/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

namespace shufflefs {
namespace {

enum class Kind { kPlain, kControl, kNoText };

struct Character {
  std::string_view bytes;
  uint32_t code = 0;  // of kNoText: the byte
  Kind kind = Kind::kPlain;
};

bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

// The character at the beginning of a text that is not empty (RFC 3629).
Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const uint32_t first = byte(0);
  const std::size_t length = first < 0x80                     ? 1
                             : first >= 0xC2 && first <= 0xDF ? 2
                             : first >= 0xE0 && first <= 0xEF ? 3
                             : first >= 0xF0 && first <= 0xF4 ? 4
                                                              : 0;
  const Character no_text{text.substr(0, 1), first, Kind::kNoText};
  if (length == 0 || length > text.size()) return no_text;
  uint32_t code = length == 1 ? first : first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return no_text;
    code = code << 6U | (byte(i) & 0x3FU);
  }
  const bool is_overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (is_overlong || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return no_text;
  return {text.substr(0, length), code, is_control(code) ? Kind::kControl : Kind::kPlain};
}

template <class Take>
void for_each_character(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const Character character = first_of(text);
    take(character);
    text.remove_prefix(character.bytes.size());
  }
}

void append_hex(std::string& out, std::string_view bytes, std::string_view mark = "\\x") {
  for (const char byte : bytes)
    out += fmt::format("{}{:02x}", mark, static_cast<unsigned char>(byte));
}

std::string escaped_but(std::string_view text, uint32_t kept) {
  std::string out;
  for_each_character(text, [&](const Character& character) {
    if (character.kind == Kind::kPlain || character.code == kept)
      out += character.bytes;
    else
      append_hex(out, character.bytes);
  });
  return out;
}

void append_json(std::string& out, const boost::json::value& value) {  // NOLINT(misc-no-recursion)
  if (const auto* const object = value.if_object()) {
    char separator = '{';
    for (const auto& [name, member] : *object) {
      out += separator;
      append_json_string(out, name);
      out += ':';
      append_json(out, member);
      separator = ',';
    }
    out += object->empty() ? "{}" : "}";
  } else if (const auto* const array = value.if_array()) {
    char separator = '[';
    for (const boost::json::value& item : *array) {
      out += separator;
      append_json(out, item);
      separator = ',';
    }
    out += array->empty() ? "[]" : "]";
  } else if (const auto* const text = value.if_string()) {
    append_json_string(out, *text);
  } else {
    out += boost::json::serialize(value);
  }
}

std::string metrics_text(std::string_view text, bool in_quotes) {
  std::string out;
  for_each_character(text, [&](const Character& character) {
    if (character.code == '\n')
      out += "\\n";
    else if (character.kind != Kind::kPlain)
      append_hex(out, character.bytes, "\\\\x");
    else if (character.code == '\\' || (character.code == '"' && in_quotes))
      out.append("\\").append(character.bytes);
    else
      out += character.bytes;
  });
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return escaped_but(text, UINT32_MAX); }

std::string printable_lines(std::string_view text) { return escaped_but(text, '\n'); }

bool is_printable(std::string_view text) {
  bool all = true;
  for_each_character(
      text, [&](const Character& character) { all = all && character.kind == Kind::kPlain; });
  return all;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for_each_character(text, [&](const Character& character) {
    if (character.kind == Kind::kNoText)
      append_hex(out, character.bytes, "\\\\x");
    else if (character.kind == Kind::kControl)
      out += fmt::format("\\u{:04x}", character.code);
    else if (character.code == '"' || character.code == '\\')
      out.append("\\").append(character.bytes);
    else
      out += character.bytes;
  });
  out += '"';
}

void append_log_value(std::string& out, std::string_view text) {
  if (!text.empty() && text.find_first_of(" \"=\\") == std::string_view::npos &&
      is_printable(text)) {
    out += text;
    return;
  }
  out += '"';
  for_each_character(text, [&](const Character& character) {
    if (character.kind != Kind::kPlain)
      append_hex(out, character.bytes);
    else if (character.code == '"' || character.code == '\\')
      out.append("\\").append(character.bytes);
    else
      out += character.bytes;
  });
  out += '"';
}

std::string metrics_label(std::string_view text) { return metrics_text(text, true); }

std::string metrics_help(std::string_view text) { return metrics_text(text, false); }

std::string_view text_prefix(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  constexpr std::size_t kLongest = 4;
  // Back to where the character begins that would be cut, if there is one.
  for (std::size_t back = 0; back < std::min(kLongest, max_bytes + 1); ++back) {
    const Character character = first_of(text.substr(max_bytes - back));
    if (character.kind != Kind::kNoText)
      return text.substr(0, character.bytes.size() > back ? max_bytes - back : max_bytes);
  }
  return text.substr(0, max_bytes);
}

std::string json_text(const boost::json::value& value) {
  std::string out;
  append_json(out, value);
  return out;
}

}  // namespace shufflefs
