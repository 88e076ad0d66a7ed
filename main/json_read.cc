#include "main/json_read.h"

#include "base/escape.h"

namespace shufflefs::json_read {

namespace json = boost::json;

const json::value& member(const json::value& value, std::string_view name) {
  static const json::value nothing;
  const auto* const object = value.if_object();
  const auto* const found = object == nullptr ? nullptr : object->if_contains(name);
  return found == nullptr ? nothing : *found;
}

std::string text(const json::value& value, std::string_view name) {
  const auto* const found = member(value, name).if_string();
  return found == nullptr ? std::string() : printable(*found);
}

double real(const json::value& value, std::string_view name) {
  boost::system::error_code error;
  const auto number = member(value, name).to_number<double>(error);
  return error ? 0.0 : number;
}

uint64_t number(const json::value& value, std::string_view name) {
  boost::system::error_code error;
  const auto number = member(value, name).to_number<uint64_t>(error);
  return error ? 0 : number;
}

bool flag(const json::value& value, std::string_view name) {
  const auto* const found = member(value, name).if_bool();
  return found != nullptr && *found;
}

std::vector<std::string> texts(const json::value& value, std::string_view name) {
  return list(value, name, [](const json::value& item) {
    return item.is_string() ? printable(item.get_string()) : std::string();
  });
}

}  // namespace shufflefs::json_read
