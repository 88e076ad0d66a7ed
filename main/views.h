// A value of the API's JSON as the commands read it. Members that are missing or of another type
// read as zero or empty, so that a client and a node of different versions still understand most of
// each other. Texts are for people: what could move a cursor is escaped (base/escape.h).
//
// Pure functions; any thread. Ownership: a View refers to a value that outlives it.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shufflefs {

class View {
 public:
  View(const boost::json::value& value) : value_(&value) {}  // NOLINT(google-explicit-constructor)
  View(boost::json::value&&) = delete;

  // A member of an object; a View of null if there is none.
  [[nodiscard]] View at(std::string_view name) const;
  [[nodiscard]] std::string text(std::string_view name) const;
  [[nodiscard]] uint64_t number(std::string_view name) const;
  [[nodiscard]] double real(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;
  // The items of an array.
  [[nodiscard]] std::vector<View> list(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> texts(std::string_view name) const;

  [[nodiscard]] const boost::json::value& value() const { return *value_; }

 private:
  const boost::json::value* value_;
};

}  // namespace shufflefs
