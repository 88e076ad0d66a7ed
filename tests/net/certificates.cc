#include "tests/net/certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>

namespace shufflefs::net::testing {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

Bio file_of(const std::filesystem::path& path) {
  Bio file(BIO_new_file(path.c_str(), "w"), BIO_free);
  REQUIRE(file);
  return file;
}

void extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension =
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  REQUIRE(extension != nullptr);
  REQUIRE(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Authority::Certificate Authority::make(const std::string& subject, EVP_PKEY* key, long valid_for) {
  static long serial = 1;
  constexpr long kHour = 3600;
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -2 * kHour);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), valid_for);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
  return certificate;
}

Authority::Authority(std::filesystem::path directory)
    : directory_(std::move(directory)),
      key_(EVP_EC_gen("P-256")),
      certificate_(make("authority", key_.get(), 1000L * 3600)) {
  X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
  extend(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  REQUIRE(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) > 0);
  REQUIRE(PEM_write_bio_X509(file_of(directory_ / "ca.pem").get(), certificate_.get()) == 1);
}

TlsFiles Authority::certify(const std::string& node, const std::string& file,
                            long valid_for) const {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate = make("node", key.get(), valid_for);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
  if (!node.empty())
    extend(certificate.get(), certificate_.get(), NID_subject_alt_name, "DNS:" + node);
  REQUIRE(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0);
  TlsFiles files{directory_ / (file + ".pem"), directory_ / (file + ".key"), directory_ / "ca.pem"};
  REQUIRE(PEM_write_bio_X509(file_of(files.certificate).get(), certificate.get()) == 1);
  REQUIRE(PEM_write_bio_PrivateKey(file_of(files.key).get(), key.get(), nullptr, nullptr, 0, nullptr,
                                   nullptr) == 1);
  REQUIRE(::chmod(files.key.c_str(), 0600) == 0);
  return files;
}

}  // namespace shufflefs::net::testing
