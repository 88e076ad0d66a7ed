#include "net/ess/auth/digest_cipher.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>

#include "base/endian.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMacBytes = 10;
constexpr std::size_t kTrailerBytes = 6;  // type and sequence number
constexpr std::array kType = {std::byte{0}, std::byte{1}};
constexpr std::size_t kMaxPadding = 8;
constexpr std::size_t kMaxFrameBytes =
    kLengthBytes + Cipher::kMaxOpenPieceBytes + kMaxPadding + kMacBytes + kTrailerBytes;

constexpr std::string_view kClientSigning =
    "Digest session key to client-to-server signing key magic constant";
constexpr std::string_view kServerSigning =
    "Digest session key to server-to-client signing key magic constant";
constexpr std::string_view kClientSealing =
    "Digest H(A1) to client-to-server sealing key magic constant";
constexpr std::string_view kServerSealing =
    "Digest H(A1) to server-to-client sealing key magic constant";

// A row of the negotiation. `hash_bytes` is how much of H(A1) goes into the sealing key.
struct Algorithm {
  std::string_view name;
  const char* openssl_name;
  std::size_t hash_bytes;
  std::size_t block_bytes;  // 1 for a stream cipher
  std::size_t key_bytes;    // after DES' seven bits per byte were spread
};
constexpr std::array<Algorithm, 5> kAlgorithms = {{{"3des", "DES-EDE3-CBC", 16, 8, 24},
                                                   {"rc4", "RC4", 16, 1, 16},
                                                   {"des", "DES-CBC", 16, 8, 8},
                                                   {"rc4-56", "RC4", 7, 1, 16},
                                                   {"rc4-40", "RC4", 5, 1, 16}}};

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

// OpenSSL's objects that all connections share. Its own library context, so that the rest of the
// program does not get the legacy algorithms by accident. Constant once made.
class Library {
 public:
  Library() : context_(OSSL_LIB_CTX_new()) {
    if (context_ == nullptr) return;
    default_ = OSSL_PROVIDER_load(context_, "default");
    legacy_ = OSSL_PROVIDER_load(context_, "legacy");
    for (std::size_t i = 0; i < kAlgorithms.size(); ++i) {
      ciphers_[i] = EVP_CIPHER_fetch(context_, kAlgorithms[i].openssl_name, nullptr);
      if (ciphers_[i] == nullptr) continue;
      if (!offered_.empty()) offered_ += ',';
      offered_ += kAlgorithms[i].name;
    }
    mac_.reset(EVP_MAC_fetch(context_, "HMAC", nullptr));
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    for (EVP_CIPHER* cipher : ciphers_) EVP_CIPHER_free(cipher);
    mac_.reset();
    if (legacy_ != nullptr) OSSL_PROVIDER_unload(legacy_);
    if (default_ != nullptr) OSSL_PROVIDER_unload(default_);
    OSSL_LIB_CTX_free(context_);
  }

  [[nodiscard]] const std::string& offered() const { return offered_; }
  [[nodiscard]] const EVP_CIPHER* cipher(std::size_t index) const { return ciphers_.at(index); }
  [[nodiscard]] EVP_MAC* mac() const { return mac_.get(); }

 private:
  OSSL_LIB_CTX* context_ = nullptr;
  OSSL_PROVIDER* default_ = nullptr;
  OSSL_PROVIDER* legacy_ = nullptr;
  std::array<EVP_CIPHER*, kAlgorithms.size()> ciphers_ = {};
  std::unique_ptr<EVP_MAC, FreeMac> mac_;
  std::string offered_;
};

const Library& library() {
  static const Library instance;
  return instance;
}

// Seven bytes of key become eight, with seven bits in the upper part of each; the lowest is parity,
// which OpenSSL does not look at.
void spread_des_key(View seven, std::span<std::byte> eight) {
  uint64_t bits = 0;
  for (const std::byte byte : seven) bits = bits << 8U | std::to_integer<uint64_t>(byte);
  for (std::size_t i = 0; i < eight.size(); ++i)
    eight[i] = static_cast<std::byte>((bits >> (49U - 7U * i) & 0x7fU) << 1U);
}

SecretBytes cipher_key(const Algorithm& algorithm, const SecretBytes& sealing) {
  if (algorithm.block_bytes == 1) return SecretBytes(sealing.view());
  SecretBytes key(algorithm.key_bytes);
  const auto to = key.writable();
  spread_des_key(sealing.view().first(7), to.first(8));
  if (algorithm.key_bytes == 24) {
    spread_des_key(sealing.view().subspan(7, 7), to.subspan(8, 8));
    spread_des_key(sealing.view().first(7), to.subspan(16, 8));
  }
  return key;
}

// Encryption or decryption, and the HMAC, of one direction.
class Direction {
 public:
  Status start(std::size_t algorithm, const SecretBytes& hash, std::string_view signing,
               std::string_view sealing, bool encrypt) {
    const Algorithm& row = kAlgorithms.at(algorithm);
    TRY_ASSIGN(const SecretBytes mac_key, md5({hash.view(), view_of(signing)}));
    TRY_ASSIGN(const SecretBytes sealing_key,
               md5({hash.view().first(row.hash_bytes), view_of(sealing)}));
    const SecretBytes key = cipher_key(row, sealing_key);
    context_.reset(EVP_CIPHER_CTX_new());
    const unsigned char* iv =
        row.block_bytes == 1 ? nullptr : raw(sealing_key.view().subspan(8).data());
    if (!context_ ||
        EVP_CipherInit_ex2(context_.get(), library().cipher(algorithm), raw(key.view().data()), iv,
                           encrypt ? 1 : 0, nullptr) != 1 ||
        EVP_CIPHER_CTX_set_padding(context_.get(), 0) != 1) {
      return openssl_error(row.openssl_name);
    }
    std::string digest = "MD5";
    const std::array parameters = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_end()};
    mac_.reset(library().mac() == nullptr ? nullptr : EVP_MAC_CTX_new(library().mac()));
    if (!mac_ || EVP_MAC_init(mac_.get(), raw(mac_key.view().data()), mac_key.size(),
                              parameters.data()) != 1) {
      return openssl_error("HMAC-MD5");
    }
    return ok();
  }

  // In place. REQUIRES: a multiple of the block size.
  Status transform(std::span<std::byte> bytes) {
    int written = 0;
    unsigned char* at = raw(bytes.data());
    if (EVP_CipherUpdate(context_.get(), at, &written, at, static_cast<int>(bytes.size())) == 1 &&
        static_cast<std::size_t>(written) == bytes.size()) {
      return ok();
    }
    return openssl_error("the cipher of DIGEST-MD5");
  }

  // HMAC-MD5 of the current sequence number and the message; the first ten bytes count.
  Status mac(View message, std::span<std::byte, kMd5Bytes> out) {
    std::array<std::byte, 4> number = {};
    store_be<uint32_t>(number.data(), sequence_);
    std::size_t size = 0;
    if (EVP_MAC_init(mac_.get(), nullptr, 0, nullptr) == 1 &&
        EVP_MAC_update(mac_.get(), raw(number.data()), number.size()) == 1 &&
        EVP_MAC_update(mac_.get(), raw(message.data()), message.size()) == 1 &&
        EVP_MAC_final(mac_.get(), raw(out.data()), &size, out.size()) == 1) {
      return ok();
    }
    return openssl_error("HMAC-MD5");
  }

  [[nodiscard]] uint32_t sequence() const { return sequence_; }
  void advance() { ++sequence_; }

 private:
  CipherContext context_;
  std::unique_ptr<EVP_MAC_CTX, FreeMac> mac_;
  uint32_t sequence_ = 0;
};

Error wrong(std::string_view what) {
  return make_error(Code::kProtocol,
                    fmt::format("a piece encrypted by DIGEST-MD5 {}: the connection is not usable "
                                "any more",
                                what));
}

class DigestCipher : public Cipher {
 public:
  DigestCipher(std::size_t block_bytes, std::size_t piece_bytes)
      : block_bytes_(block_bytes),
        piece_bytes_(std::clamp<std::size_t>(piece_bytes, 4096, kMaxOpenPieceBytes)) {}

  Status start(std::size_t algorithm, const SecretBytes& hash, bool server) {
    const auto in_signing = server ? kClientSigning : kServerSigning;
    const auto in_sealing = server ? kClientSealing : kServerSealing;
    TRY(in_.start(algorithm, hash, in_signing, in_sealing, false));
    return out_.start(algorithm, hash, server ? kServerSigning : kClientSigning,
                      server ? kServerSealing : kClientSealing, true);
  }

  Status open(View sealed, Bytes& plain) override {
    if (failed_) return wrong("follows one that was wrong");
    Status status = open_all(sealed, plain);
    if (!status) {
      failed_ = true;
      wipe(pending_);
      pending_.clear();
    }
    return status;
  }

  Status seal(View plain, Bytes& sealed) override {
    if (plain.empty()) return ok();
    if (plain.size() > piece_bytes_)
      return make_error(Code::kInternal, "a piece to be sealed is above max_seal_bytes()");
    std::array<std::byte, kMd5Bytes> mac = {};
    TRY(out_.mac(plain, mac));
    const std::size_t padding =
        block_bytes_ == 1 ? 0 : block_bytes_ - (plain.size() + kMacBytes) % block_bytes_;
    const std::size_t body = plain.size() + padding + kMacBytes;
    const std::size_t start = sealed.size();
    sealed.resize(start + kLengthBytes + body + kTrailerBytes);
    std::byte* to = &sealed[start];
    store_be<uint64_t>(to, kLengthBytes + body + kTrailerBytes);
    to += kLengthBytes;
    std::ranges::copy(plain, to);
    std::fill_n(to + plain.size(), padding, static_cast<std::byte>(padding));
    std::copy_n(mac.begin(), kMacBytes, to + plain.size() + padding);
    TRY(out_.transform(std::span(to, body)));
    to += body;
    std::ranges::copy(kType, to);
    store_be<uint32_t>(to + kType.size(), out_.sequence());
    out_.advance();
    return ok();
  }

  [[nodiscard]] std::size_t max_seal_bytes() const override { return piece_bytes_; }

 private:
  Status open_all(View sealed, Bytes& plain) {
    append(pending_, sealed);
    std::size_t at = 0;
    while (pending_.size() - at >= kLengthBytes) {
      const auto length = load_be<uint64_t>(&pending_[at]);
      if (length > kMaxFrameBytes || length < kLengthBytes + kMacBytes + kTrailerBytes + 1)
        return wrong(fmt::format("has the impossible length {}", length));
      if (pending_.size() - at < length) break;
      const auto frame = std::span(pending_).subspan(at, length).subspan(kLengthBytes);
      TRY(open_piece(frame, plain));
      at += length;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(at));
    return ok();
  }

  Status open_piece(std::span<std::byte> piece, Bytes& plain) {
    const auto trailer = piece.last(kTrailerBytes);
    const auto body = piece.first(piece.size() - kTrailerBytes);
    if (body.size() % block_bytes_ != 0) return wrong("is not a multiple of the cipher's blocks");
    TRY(in_.transform(body));
    const auto padded = body.first(body.size() - kMacBytes);
    const auto given_mac = body.last(kMacBytes);
    std::size_t padding = 0;
    if (block_bytes_ > 1) {
      padding = std::to_integer<std::size_t>(padded.back());
      if (padding == 0 || padding > block_bytes_ || padding > padded.size())
        return wrong("has a wrong padding");
    }
    const auto message = padded.first(padded.size() - padding);
    std::array<std::byte, kMd5Bytes> mac = {};
    TRY(in_.mac(message, mac));
    if (!equal_constant_time(std::span(mac).first(kMacBytes), given_mac))
      return wrong("has a wrong message authentication code");
    if (!std::ranges::equal(trailer.first(kType.size()), kType) ||
        load_be<uint32_t>(&trailer[kType.size()]) != in_.sequence()) {
      return wrong("is out of sequence");
    }
    in_.advance();
    append(plain, message);
    return ok();
  }

  std::size_t block_bytes_;
  std::size_t piece_bytes_;
  Direction in_;
  Direction out_;
  Bytes pending_;  // an incomplete piece
  bool failed_ = false;
};

Result<std::unique_ptr<Cipher>> make_cipher(std::string_view name, const SecretBytes& hash,
                                            std::size_t piece_bytes, bool server) {
  const auto* row = std::ranges::find(kAlgorithms, name, &Algorithm::name);
  const auto index = static_cast<std::size_t>(row - kAlgorithms.begin());
  if (row == kAlgorithms.end() || library().cipher(index) == nullptr) {
    return make_error(Code::kPermission,
                      fmt::format("DIGEST-MD5: server does not support cipher: {}", name));
  }
  auto cipher = std::make_unique<DigestCipher>(row->block_bytes, piece_bytes);
  TRY(cipher->start(index, hash, server));
  return std::unique_ptr<Cipher>(std::move(cipher));
}

}  // namespace

const std::string& offered_digest_ciphers() { return library().offered(); }

Result<std::unique_ptr<Cipher>> make_digest_cipher(std::string_view name, const SecretBytes& hash,
                                                   std::size_t piece_bytes) {
  return make_cipher(name, hash, piece_bytes, true);
}

Result<std::unique_ptr<Cipher>> make_digest_client_cipher(std::string_view name,
                                                          const SecretBytes& hash,
                                                          std::size_t piece_bytes) {
  return make_cipher(name, hash, piece_bytes, false);
}

}  // namespace shufflefs::net::ess
