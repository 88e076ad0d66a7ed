// A value of JSON as text: the one way in which JSON leaves this program. Boost's own serializer
// passes on what is no UTF-8, and then nobody can read the document.
//
// Pure function; any thread.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace shufflefs {

// In one line, without a newline at its end; strings as append_json_string() writes them
// (base/escape.h). REQUIRES: the value is not nested deeper than the stack allows, which holds for
// what Boost has parsed.
[[nodiscard]] std::string json_text(const boost::json::value& value);

}  // namespace shufflefs
