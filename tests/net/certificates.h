// Certificates for tests, made when they are needed: an authority, and certificates that it signs.
//
// One thread. Failure: a failed REQUIRE. Cost: a key of the curve P-256 each, some milliseconds.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <filesystem>
#include <memory>
#include <string>

#include "net/tls.h"

namespace shufflefs::net::testing {

class Authority {
 public:
  // Writes ca.pem into the directory, which exists.
  explicit Authority(std::filesystem::path directory);

  // <file>.pem and <file>.key for a node of that name. `valid_for` in seconds from now; negative:
  // it has expired already.
  [[nodiscard]] TlsFiles certify(const std::string& node, const std::string& file,
                                 long valid_for = 3600) const;

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(X509* certificate) const { X509_free(certificate); }
  };
  using Key = std::unique_ptr<EVP_PKEY, Free>;
  using Certificate = std::unique_ptr<X509, Free>;
  [[nodiscard]] static Certificate make(const std::string& subject, EVP_PKEY* key, long valid_for);

  const std::filesystem::path directory_;
  Key key_;
  Certificate certificate_;
};

}  // namespace shufflefs::net::testing
