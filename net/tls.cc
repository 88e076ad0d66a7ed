#include "net/tls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
// The one translation unit that compiles the non-template code of Boost.Asio's ssl, which
// base/asio_runtime.cc leaves out: base knows nothing of OpenSSL.
#include <boost/asio/ssl/impl/src.hpp>

#include "net/crypto.h"
#include "net/secret_file.h"

namespace shufflefs::net {
namespace {

namespace ssl = boost::asio::ssl;

constexpr std::size_t kMaxKeyBytes = 16U << 10U;
constexpr std::size_t kBindingBytes = 32;
constexpr std::string_view kBindingLabel = "EXPERIMENTAL shufflefs peer";

struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

Error bad_file(std::string_view option, const std::string& file, std::string_view why) {
  return make_error(Code::kConfig, fmt::format("--{} {}: {}", option, file, why));
}

}  // namespace

Result<std::shared_ptr<TlsContext>> make_tls_context(const TlsFiles& files) {
  TRY_ASSIGN(const SecretText key,
             read_secret_text(files.key, {.what = "--tls-key",
                                          .if_empty = "give the PEM file of the private key",
                                          .most_bytes = kMaxKeyBytes}));
  boost::system::error_code error;
  auto context = std::make_shared<TlsContext>(ssl::context::tls);
  SSL_CTX* const native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(native, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(
      native, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  context->use_certificate_chain_file(files.certificate, error);
  if (error) return bad_file("tls-cert", files.certificate, error.message());
  context->use_private_key(boost::asio::buffer(key.text()), ssl::context::pem, error);
  if (error || SSL_CTX_check_private_key(native) != 1) {
    ERR_clear_error();
    return bad_file("tls-key", files.key,
                    error ? error.message() : "it is not the key of the certificate in --tls-cert");
  }
  context->load_verify_file(files.ca, error);
  if (error) return bad_file("tls-ca", files.ca, error.message());
  context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, error);
  if (error) return openssl_error("TLS");
  return context;
}

std::vector<std::string> peer_names(SSL* ssl) {
  std::vector<std::string> found;
  const std::unique_ptr<X509, FreeCertificate> certificate(SSL_get1_peer_certificate(ssl));
  if (!certificate) return found;
  const std::unique_ptr<GENERAL_NAMES, FreeNames> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    // With its length: a zero byte inside must not end the comparison.
    found.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                       static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
  }
  return found;
}

Status check_peer_name(SSL* ssl, std::string_view node) {
  const std::vector<std::string> names = peer_names(ssl);
  if (std::ranges::find(names, node) != names.end()) return ok();
  return make_error(
      Code::kPermission,
      fmt::format(
          "the certificate is for {}, not for {}: node names must be among the DNS names "
          "of its subjectAltName",
          names.empty() ? std::string("no name") : fmt::format("{}", fmt::join(names, ", ")),
          node));
}

Result<Bytes> channel_binding(SSL* ssl) {
  Bytes binding(kBindingBytes);
  if (SSL_export_keying_material(ssl, raw(binding.data()), binding.size(), kBindingLabel.data(),
                                 kBindingLabel.size(), nullptr, 0, 0) != 1)
    return openssl_error("the TLS exporter");
  return binding;
}

}  // namespace shufflefs::net
