#include "net/ess/auth/session_cipher.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/endian.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kGcmLengthBytes = 8;
constexpr std::size_t kSegmentBytes = std::size_t{32} << 10U;
constexpr std::size_t kPlainSegmentBytes = kSegmentBytes - kGcmTagBytes;
constexpr std::size_t kNoncePrefixBytes = 7;
// The segments are numbered by 32 bits.
constexpr uint64_t kMaxMessageBytes = uint64_t{kSegmentBytes} << 31U;

// Of a message's streaming header, for a key of 16 or 32 bytes; also the header's first byte.
constexpr std::size_t gcm_header_bytes(std::size_t key_bytes) {
  return 1 + key_bytes + kNoncePrefixBytes;
}

using GcmNonce = std::array<std::byte, kGcmNonceBytes>;

GcmNonce nonce_of(View prefix, uint32_t segment, bool last) {
  GcmNonce nonce = {};
  std::ranges::copy(prefix, nonce.begin());
  store_be<uint32_t>(&nonce[kNoncePrefixBytes], segment);
  nonce.back() = std::byte{last};
  return nonce;
}

constexpr std::size_t kTellingBytes = 9;  // a frame's length and the byte after it
constexpr uint64_t kMinFrameBytes = 9;    // the length itself and a type
constexpr uint64_t kFrameLimit = 1ULL << 31U;

Error wrong_message(std::string_view what) {
  return make_error(Code::kProtocol,
                    fmt::format("a message encrypted by AES/GCM {}: the connection is not usable "
                                "any more",
                                what));
}

// Each message is an int64 length (counting itself, and authenticated), then Tink's
// AesGcmHkdfStreaming: a header {its size, salt, 7 bytes of nonce} and segments of 32 KiB, each
// with a tag. The key is derived anew for each message. Spark 3.5.7's own receiver takes one such
// message per connection and drops what follows, so AES/GCM works with later versions only.
class GcmCipher : public Cipher {
 public:
  explicit GcmCipher(SecretBytes key)
      : key_(std::move(key)), header_bytes_(gcm_header_bytes(key_.size())) {}

  Status open(View sealed, Bytes& plain) override {
    if (failed_) return wrong_message("follows one that was wrong");
    Status status = open_all(sealed, plain);
    if (!status) {
      failed_ = true;
      pending_.clear();
    }
    return status;
  }

  Status seal(View plain, Bytes& sealed) override {
    if (plain.empty()) return ok();
    const std::size_t segments = (plain.size() + kPlainSegmentBytes - 1) / kPlainSegmentBytes;
    std::array<std::byte, kGcmLengthBytes> length = {};
    store_be<uint64_t>(length.data(),
                       kGcmLengthBytes + header_bytes_ + plain.size() + segments * kGcmTagBytes);
    Bytes header(header_bytes_);
    header[0] = static_cast<std::byte>(header_bytes_);
    TRY(random_fill(std::span(header).subspan(1)));
    append(sealed, length);
    append(sealed, header);
    TRY_ASSIGN(const SecretBytes key, message_key(header, length));
    for (uint32_t segment = 0; !plain.empty(); ++segment) {
      const View piece = plain.first(std::min(kPlainSegmentBytes, plain.size()));
      plain = plain.subspan(piece.size());
      const GcmNonce nonce = nonce_of(View(header).last(kNoncePrefixBytes), segment, plain.empty());
      TRY(gcm_seal(key.view(), nonce, {}, piece, sealed));
    }
    return ok();
  }

 private:
  Status open_all(View sealed, Bytes& plain) {
    while (!sealed.empty()) {
      const std::size_t count = std::min(wanted_bytes() - pending_.size(), sealed.size());
      append(pending_, sealed.first(count));
      sealed = sealed.subspan(count);
      if (pending_.size() < wanted_bytes()) return ok();
      TRY(in_message_ ? open_segment(plain) : begin_message());
      pending_.clear();
    }
    return ok();
  }

  // Length and header come first, then segment by segment.
  [[nodiscard]] std::size_t wanted_bytes() const {
    if (!in_message_) return kGcmLengthBytes + header_bytes_;
    return static_cast<std::size_t>(std::min<uint64_t>(kSegmentBytes, rest_bytes_));
  }

  Status begin_message() {
    const View length = View(pending_).first(kGcmLengthBytes);
    const View header = View(pending_).subspan(kGcmLengthBytes);
    const auto total = load_be<uint64_t>(length.data());
    if (total < pending_.size() || total > kMaxMessageBytes)
      return wrong_message(fmt::format("has the impossible length {}", total));
    rest_bytes_ = total - pending_.size();
    const uint64_t last_segment = rest_bytes_ % kSegmentBytes;
    if (last_segment != 0 && last_segment <= kGcmTagBytes)
      return wrong_message(fmt::format("has the impossible length {}", total));
    if (std::to_integer<std::size_t>(header.front()) != header_bytes_)
      return wrong_message("has a wrong header");
    TRY_ASSIGN(message_key_, message_key(header, length));
    std::ranges::copy(header.last(kNoncePrefixBytes), nonce_prefix_.begin());
    segment_ = 0;
    in_message_ = rest_bytes_ > 0;
    return ok();
  }

  Status open_segment(Bytes& plain) {
    const bool last = rest_bytes_ == pending_.size();
    const GcmNonce nonce = nonce_of(nonce_prefix_, segment_, last);
    if (!gcm_open(message_key_.view(), nonce, {}, pending_, plain))
      return wrong_message("has a wrong tag");
    ++segment_;
    rest_bytes_ -= pending_.size();
    in_message_ = !last;
    return ok();
  }

  [[nodiscard]] Result<SecretBytes> message_key(View header, View length) const {
    return hkdf_sha256(key_.view(), header.subspan(1, key_.size()), length, key_.size());
  }

  SecretBytes key_;
  std::size_t header_bytes_;
  // What is being opened.
  Bytes pending_;
  bool in_message_ = false;
  SecretBytes message_key_;
  std::array<std::byte, kNoncePrefixBytes> nonce_prefix_ = {};
  uint32_t segment_ = 0;
  uint64_t rest_bytes_ = 0;
  bool failed_ = false;
};

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
  return length >= kMinFrameBytes && length < kFrameLimit;
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

std::unique_ptr<Cipher> make_gcm_cipher(SecretBytes key) {
  return std::make_unique<GcmCipher>(std::move(key));
}

Result<std::unique_ptr<Cipher>> make_ctr_cipher(View key, View in_iv, View out_iv) {
  auto cipher = std::make_unique<CtrCipher>();
  TRY(cipher->start(key, in_iv, out_iv));
  return std::unique_ptr<Cipher>(std::move(cipher));
}

}  // namespace shufflefs::net::ess
