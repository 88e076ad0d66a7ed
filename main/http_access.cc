#include "main/http_access.h"

#include <boost/asio/ip/address.hpp>

#include "net/ess/auth/auth_secret.h"

namespace shufflefs {

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

Result<std::string> read_token_file(const std::string& file) {
  TRY_ASSIGN(const auto secret, net::ess::read_secret_file(file));
  return std::string(secret->text());
}

Result<net::HttpAccess> http_access(const Settings& settings) {
  net::HttpAccess access;
  access.reading_needs_token = !is_loopback(settings.http_listen.host);
  if (!settings.http_token_file.empty()) {
    TRY_ASSIGN(access.token, read_token_file(settings.http_token_file));
  }
  return access;
}

}  // namespace shufflefs
