#include "net/ess/auth/session_cipher.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/endian.h"
#include "net/ess/auth/gcm_cipher.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kSealBytes = std::size_t{256} << 10U;
constexpr std::size_t kTellingBytes = 9;  // a frame's length and the byte after it
constexpr uint64_t kLeastFrameBytes = 9;  // the length itself and a type
constexpr uint64_t kFrameLimit = 1ULL << 31U;

class CtrCipher : public Cipher {
 public:
  Status start(View key, View in_iv, View out_iv) {
    const EVP_CIPHER* algorithm = key.size() == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr();
    in_.reset(EVP_CIPHER_CTX_new());
    out_.reset(EVP_CIPHER_CTX_new());
    // Encryption and decryption are the same exclusive or.
    if (in_ && out_ &&
        EVP_EncryptInit_ex(in_.get(), algorithm, nullptr, raw(key.data()), raw(in_iv.data())) ==
            1 &&
        EVP_EncryptInit_ex(out_.get(), algorithm, nullptr, raw(key.data()), raw(out_iv.data())) ==
            1) {
      return ok();
    }
    return openssl_error("AES-CTR");
  }

  Status open(View sealed, Bytes& plain) override { return apply(*in_, sealed, plain); }
  Status seal(View plain, Bytes& sealed) override { return apply(*out_, plain, sealed); }
  [[nodiscard]] std::size_t max_seal_bytes() const override { return kSealBytes; }

 private:
  static Status apply(EVP_CIPHER_CTX& context, View from, Bytes& to) {
    if (from.empty()) return ok();
    const std::size_t start = to.size();
    to.resize(start + from.size());
    int written = 0;
    if (EVP_EncryptUpdate(&context, raw(&to[start]), &written, raw(from.data()),
                          static_cast<int>(from.size())) == 1) {
      return ok();
    }
    to.resize(start);
    return openssl_error("AES-CTR");
  }

  CipherContext in_;
  CipherContext out_;
};

bool begins_a_frame(View bytes) {
  const auto length = load_be<uint64_t>(bytes.data());
  return length >= kLeastFrameBytes && length < kFrameLimit;
}

class SessionCipher : public Cipher {
 public:
  explicit SessionCipher(SessionKeys keys) : keys_(std::move(keys)) {}

  Status open(View sealed, Bytes& plain) override {
    if (chosen_) return chosen_->open(sealed, plain);
    const std::size_t missing = std::min(kTellingBytes - first_.size(), sealed.size());
    append(first_, sealed.first(missing));
    if (first_.size() < kTellingBytes) return ok();
    TRY(choose());
    TRY(chosen_->open(first_, plain));
    first_.clear();
    return chosen_->open(sealed.subspan(missing), plain);
  }

  Status seal(View plain, Bytes& sealed) override {
    if (chosen_) return chosen_->seal(plain, sealed);
    return make_error(
        Code::kInternal,
        "nothing can be sent on an encrypted connection before the client has spoken");
  }

  // The smaller of the two, as it may be asked before the choice.
  [[nodiscard]] std::size_t max_seal_bytes() const override { return kSealBytes; }

 private:
  Status choose() {
    if (failed_) return refuse();
    for (const SecretBytes* key : {&keys_.key_v1, &keys_.key_v2}) {
      // A trial cipher is thrown away, as looking moves its counter.
      TRY_ASSIGN(const auto trial,
                 make_ctr_cipher(key->view(), keys_.server_iv.view(), keys_.client_iv.view()));
      Bytes opened;
      TRY(trial->open(first_, opened));
      if (!begins_a_frame(opened)) continue;
      TRY_ASSIGN(chosen_,
                 make_ctr_cipher(key->view(), keys_.server_iv.view(), keys_.client_iv.view()));
      break;
    }
    if (!chosen_ && begins_a_frame(first_)) {
      for (SecretBytes* key : {&keys_.key_v1, &keys_.key_v2}) {
        if (std::to_integer<std::size_t>(first_.back()) != gcm_header_bytes(key->size())) continue;
        chosen_ = make_gcm_cipher(std::move(*key));
        break;
      }
    }
    keys_ = {};
    failed_ = chosen_ == nullptr;
    return failed_ ? refuse() : ok();
  }

  static Status refuse() {
    return make_error(Code::kProtocol,
                      "what the client sent after authentication is no frame under any cipher that "
                      "is known (AES/CTR/NoPadding, AES/GCM/NoPadding; authEngineVersion 1, 2)");
  }

  SessionKeys keys_;
  Bytes first_;
  std::unique_ptr<Cipher> chosen_;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Cipher> make_session_cipher(SessionKeys keys) {
  return std::make_unique<SessionCipher>(std::move(keys));
}

Result<std::unique_ptr<Cipher>> make_ctr_cipher(View key, View in_iv, View out_iv) {
  auto cipher = std::make_unique<CtrCipher>();
  TRY(cipher->start(key, in_iv, out_iv));
  return std::unique_ptr<Cipher>(std::move(cipher));
}

}  // namespace shufflefs::net::ess
