#include "net/ess/auth/auth_message.h"

#include <array>

#include "base/endian.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kLengthBytes = 4;

bool take_tag(View& rest, std::byte tag) {
  if (rest.empty() || rest.front() != tag) return false;
  rest = rest.subspan(1);
  return true;
}

// An int32 length and as many bytes.
std::optional<View> take_bytes(View& rest) {
  if (rest.size() < kLengthBytes) return std::nullopt;
  const auto size = load_be<uint32_t>(rest.data());
  if (size > rest.size() - kLengthBytes) return std::nullopt;  // "negative" lengths as well
  const View bytes = rest.subspan(kLengthBytes, size);
  rest = rest.subspan(kLengthBytes + size);
  return bytes;
}

std::string text_of(View bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void put_length(Bytes& out, std::size_t size) {
  std::array<std::byte, kLengthBytes> bytes = {};
  store_be<uint32_t>(bytes.data(), static_cast<uint32_t>(size));
  append(out, bytes);
}

void put_bytes(Bytes& out, View bytes) {
  put_length(out, bytes.size());
  append(out, bytes);
}

}  // namespace

std::optional<SaslMessage> decode_sasl_message(View body) {
  if (!take_tag(body, kSaslTag)) return std::nullopt;
  const auto app = take_bytes(body);
  if (!app || app->size() > kMaxAuthAppBytes || body.size() < kLengthBytes) return std::nullopt;
  return SaslMessage{text_of(*app), text_of(body.subspan(kLengthBytes))};
}

Bytes encode_sasl_message(const SaslMessage& message) {
  Bytes body = {kSaslTag};
  put_bytes(body, view_of(message.app));
  put_bytes(body, view_of(message.token));
  return body;
}

std::optional<AuthMessage> decode_auth_message(View body) {
  if (!take_tag(body, kAuthTag)) return std::nullopt;
  const auto app = take_bytes(body);
  if (!app || app->size() > kMaxAuthAppBytes) return std::nullopt;
  const auto salt = take_bytes(body);
  if (!salt) return std::nullopt;
  const auto ciphertext = take_bytes(body);
  if (!ciphertext) return std::nullopt;
  return AuthMessage{text_of(*app), Bytes(salt->begin(), salt->end()),
                     Bytes(ciphertext->begin(), ciphertext->end())};
}

Bytes encode_auth_message(const AuthMessage& message) {
  Bytes body = {kAuthTag};
  put_bytes(body, view_of(message.app));
  put_bytes(body, message.salt);
  put_bytes(body, message.ciphertext);
  return body;
}

}  // namespace shufflefs::net::ess
