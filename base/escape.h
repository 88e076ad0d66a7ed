// Text that others have written (file names, messages of peers, reasons, attributes) on its way
// out. There is one writer for each format, and everything that is shown goes through it. Whatever
// the bytes are, the result is UTF-8 without control characters, so that it can neither make a
// document unreadable, nor move a cursor, nor fake a line.
//
// A byte that is no UTF-8, and each byte of a control character, becomes \xNN. Control characters
// are C0, DEL, C1, the line separators and those that change the direction of text (U+2028 to
// U+202E, U+2066 to U+2069). What is escaped already stays as it is; a backslash is none of it.
//
// Pure functions; any thread.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

namespace shufflefs {

// For a terminal, and for a place within a line of any text.
[[nodiscard]] std::string printable(std::string_view text);
// For several lines: newlines stay. Each part of others must have been printable() before.
[[nodiscard]] std::string printable_lines(std::string_view text);
// Whether printable() would change nothing.
[[nodiscard]] bool is_printable(std::string_view text);

// Appends a string of JSON with its quotes. It reads back as the text, with the bytes that are no
// UTF-8 as \xNN: control characters are JSON's own escapes.
void append_json_string(std::string& out, std::string_view text);

// A value of a log line: as it is, or in quotes, within which quotes and backslashes are escaped.
void append_log_value(std::string& out, std::string_view text);

// The value of a metric's label without its quotes, and the help of a metric.
[[nodiscard]] std::string metrics_label(std::string_view text);
[[nodiscard]] std::string metrics_help(std::string_view text);

// The beginning of a text, at most so many bytes, without cutting a character in two.
[[nodiscard]] std::string_view text_prefix(std::string_view text, std::size_t max_bytes);

// A value of JSON in one line, without a newline at its end: the one way in which JSON leaves this
// program, as Boost's own serializer passes on what is no UTF-8. REQUIRES: the value is not nested
// deeper than the stack allows, which holds for what Boost has parsed.
[[nodiscard]] std::string json_text(const boost::json::value& value);

}  // namespace shufflefs
