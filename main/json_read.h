// Reading JSON that another version may have written: a member that is missing or odd reads as
// zero or empty, so that a client and a node of different versions still understand most of each
// other. Texts are for people: what could move a cursor is escaped (base/escape.h). Pure functions;
// any thread.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shufflefs::json_read {

// A member of an object; null for what is not there.
[[nodiscard]] const boost::json::value& member(const boost::json::value& value,
                                               std::string_view name);
[[nodiscard]] std::string text(const boost::json::value& value, std::string_view name);
[[nodiscard]] double real(const boost::json::value& value, std::string_view name);
[[nodiscard]] uint64_t number(const boost::json::value& value, std::string_view name);
[[nodiscard]] bool flag(const boost::json::value& value, std::string_view name);

// `read` of each item of an array.
template <class Read>
[[nodiscard]] auto list(const boost::json::value& value, std::string_view name, Read read) {
  std::vector<decltype(read(value))> items;
  if (const auto* const array = member(value, name).if_array()) {
    for (const boost::json::value& item : *array) items.push_back(read(item));
  }
  return items;
}
[[nodiscard]] std::vector<std::string> texts(const boost::json::value& value,
                                             std::string_view name);

}  // namespace shufflefs::json_read
