#include "net/ess/auth/gcm_cipher.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/endian.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kSegmentBytes = std::size_t{32} << 10U;
constexpr std::size_t kPlainSegmentBytes = kSegmentBytes - kGcmTagBytes;
constexpr std::size_t kNoncePrefixBytes = 7;
constexpr std::size_t kSealBytes = std::size_t{256} << 10U;
// The segments are numbered by 32 bits.
constexpr uint64_t kMaxMessageBytes = uint64_t{kSegmentBytes} << 31U;

using Nonce = std::array<std::byte, kGcmNonceBytes>;

Nonce nonce_of(View prefix, uint32_t segment, bool last) {
  Nonce nonce = {};
  std::ranges::copy(prefix, nonce.begin());
  store_be<uint32_t>(&nonce[kNoncePrefixBytes], segment);
  nonce.back() = std::byte{last};
  return nonce;
}

Error wrong(std::string_view what) {
  return make_error(Code::kProtocol,
                    fmt::format("a message encrypted by AES/GCM {}: the connection is not usable "
                                "any more",
                                what));
}

class GcmCipher : public Cipher {
 public:
  explicit GcmCipher(SecretBytes key)
      : key_(std::move(key)), header_bytes_(gcm_header_bytes(key_.size())) {}

  Status open(View sealed, Bytes& plain) override {
    if (failed_) return wrong("follows one that was wrong");
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
    std::array<std::byte, kLengthBytes> length = {};
    store_be<uint64_t>(length.data(),
                       kLengthBytes + header_bytes_ + plain.size() + segments * kGcmTagBytes);
    Bytes header(header_bytes_);
    header[0] = static_cast<std::byte>(header_bytes_);
    TRY(random_fill(std::span(header).subspan(1)));
    append(sealed, length);
    append(sealed, header);
    TRY_ASSIGN(const SecretBytes key, message_key(header, length));
    for (uint32_t segment = 0; !plain.empty(); ++segment) {
      const View piece = plain.first(std::min(kPlainSegmentBytes, plain.size()));
      plain = plain.subspan(piece.size());
      const Nonce nonce = nonce_of(View(header).last(kNoncePrefixBytes), segment, plain.empty());
      TRY(gcm_seal(key.view(), nonce, {}, piece, sealed));
    }
    return ok();
  }

  [[nodiscard]] std::size_t max_seal_bytes() const override { return kSealBytes; }

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
    if (!in_message_) return kLengthBytes + header_bytes_;
    return static_cast<std::size_t>(std::min<uint64_t>(kSegmentBytes, rest_bytes_));
  }

  Status begin_message() {
    const View length = View(pending_).first(kLengthBytes);
    const View header = View(pending_).subspan(kLengthBytes);
    const auto total = load_be<uint64_t>(length.data());
    if (total < pending_.size() || total > kMaxMessageBytes)
      return wrong(fmt::format("has the impossible length {}", total));
    rest_bytes_ = total - pending_.size();
    const uint64_t last_segment = rest_bytes_ % kSegmentBytes;
    if (last_segment != 0 && last_segment <= kGcmTagBytes)
      return wrong(fmt::format("has the impossible length {}", total));
    if (std::to_integer<std::size_t>(header.front()) != header_bytes_)
      return wrong("has a wrong header");
    TRY_ASSIGN(message_key_, message_key(header, length));
    std::ranges::copy(header.last(kNoncePrefixBytes), nonce_prefix_.begin());
    segment_ = 0;
    in_message_ = rest_bytes_ > 0;
    return ok();
  }

  Status open_segment(Bytes& plain) {
    const bool last = rest_bytes_ == pending_.size();
    const Nonce nonce = nonce_of(nonce_prefix_, segment_, last);
    if (!gcm_open(message_key_.view(), nonce, {}, pending_, plain)) return wrong("has a wrong tag");
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

}  // namespace

std::unique_ptr<Cipher> make_gcm_cipher(SecretBytes key) {
  return std::make_unique<GcmCipher>(std::move(key));
}

}  // namespace shufflefs::net::ess
