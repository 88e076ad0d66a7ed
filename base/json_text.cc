#include "base/json_text.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include "base/escape.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

void append(std::string& out, const json::value& value) {  // NOLINT(misc-no-recursion)
  if (const auto* const object = value.if_object()) {
    char separator = '{';
    for (const auto& [name, member] : *object) {
      out += separator;
      append_json_string(out, name);
      out += ':';
      append(out, member);
      separator = ',';
    }
    out += object->empty() ? "{}" : "}";
  } else if (const auto* const array = value.if_array()) {
    char separator = '[';
    for (const json::value& item : *array) {
      out += separator;
      append(out, item);
      separator = ',';
    }
    out += array->empty() ? "[]" : "]";
  } else if (const auto* const text = value.if_string()) {
    append_json_string(out, *text);
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string json_text(const boost::json::value& value) {
  std::string out;
  append(out, value);
  return out;
}

}  // namespace shufflefs
