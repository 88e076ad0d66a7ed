#include "net/http_message.h"

#include <boost/json/object.hpp>

#include "base/escape.h"

namespace shufflefs::net {
namespace {

unsigned http_status(Code code) {
  switch (code) {
    case Code::kNotFound:
    case Code::kDropped: return 404;
    case Code::kInvalidArgument:
    case Code::kTooLarge:
    case Code::kConfig: return 400;
    case Code::kExists: return 409;
    case Code::kPermission:
    case Code::kReadOnly:
    case Code::kRefused: return 403;
    case Code::kTimeout: return 504;
    case Code::kCancelled:
    case Code::kNoMemory:
    case Code::kPeerUnreachable: return 503;
    default: return 500;
  }
}

}  // namespace

std::string_view to_string(HttpMethod method) {
  switch (method) {
    case HttpMethod::kGet: return "GET";
    case HttpMethod::kPost: return "POST";
    case HttpMethod::kDelete: return "DELETE";
  }
  return "GET";
}

HttpAnswer text_answer(std::string text) {
  HttpAnswer answer;
  answer.body = std::move(text);
  return answer;
}

HttpAnswer json_answer(const boost::json::value& value) {
  HttpAnswer answer;
  answer.content_type = "application/json";
  answer.body = json_text(value) + "\n";
  return answer;
}

HttpAnswer error_answer(unsigned status, std::string_view code, std::string_view message) {
  boost::json::object inner;
  inner["code"] = code;
  inner["message"] = message;
  boost::json::object outer;
  outer["error"] = std::move(inner);
  HttpAnswer answer = json_answer(outer);
  answer.status = status;
  return answer;
}

HttpAnswer error_answer(const Error& error) {
  return error_answer(http_status(error.code), to_string(error.code), error.message);
}

}  // namespace shufflefs::net
