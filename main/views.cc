#include "main/views.h"

#include "base/escape.h"

namespace shufflefs {
namespace {

std::string printable_text(const boost::json::value& value) {
  const auto* const text = value.if_string();
  return text == nullptr ? std::string() : printable(*text);
}

template <class Number>
Number number_in(const boost::json::value& value) {
  boost::system::error_code error;
  const auto number = value.to_number<Number>(error);
  return error ? Number{} : number;
}

}  // namespace

View View::at(std::string_view name) const {
  static const boost::json::value nothing;
  const auto* const object = value_->if_object();
  const auto* const found = object == nullptr ? nullptr : object->if_contains(name);
  return found == nullptr ? nothing : *found;
}

std::string View::text(std::string_view name) const { return printable_text(at(name).value()); }

uint64_t View::number(std::string_view name) const { return number_in<uint64_t>(at(name).value()); }

double View::real(std::string_view name) const { return number_in<double>(at(name).value()); }

bool View::flag(std::string_view name) const {
  const auto* const found = at(name).value().if_bool();
  return found != nullptr && *found;
}

std::vector<View> View::list(std::string_view name) const {
  const auto* const array = at(name).value().if_array();
  if (array == nullptr) return {};
  return {array->begin(), array->end()};
}

std::vector<std::string> View::texts(std::string_view name) const {
  std::vector<std::string> texts;
  for (const View& item : list(name)) texts.push_back(printable_text(item.value()));
  return texts;
}

}  // namespace shufflefs
