#include "net/peer_secrets.h"

#include <fmt/format.h>

#include "base/endian.h"
#include "net/crypto.h"

namespace shufflefs::net {
namespace {

constexpr std::string_view kCallerLabel = "shufflefs 2 caller";
constexpr std::string_view kCalleeLabel = "shufflefs 2 callee";

Error bad_file(const std::filesystem::path& file, std::string_view why) {
  return make_error(Code::kConfig, fmt::format("the secret file {}: {}", file.string(), why));
}

// With its length in front, so that no two lists of parts have the same bytes.
void append_part(Bytes& to, std::span<const std::byte> part) {
  const std::size_t at = to.size();
  to.resize(at + sizeof(uint32_t));
  store_le<uint32_t>(&to[at], static_cast<uint32_t>(part.size()));
  append(to, part);
}

}  // namespace

Bytes transcript_of(std::span<const std::byte> hello, std::span<const std::byte> answer,
                    std::span<const std::byte> channel) {
  Bytes transcript;
  for (const auto part : {hello, answer, channel}) append_part(transcript, part);
  return transcript;
}

Result<std::shared_ptr<const PeerSecrets>> PeerSecrets::read(const std::filesystem::path& file) {
  TRY_ASSIGN(const SecretText text,
             read_secret_text(file, {.what = "the secret file",
                                     .if_empty = "make one with 'openssl rand -base64 32', and "
                                                 "give the same one to every node"}));
  std::vector<SecretText> secrets;
  std::string_view rest = text.text();
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (line.size() < kLeastSecretBytes) {
      return bad_file(file, fmt::format("a secret of {} characters can be guessed; make one with "
                                        "'openssl rand -base64 32'",
                                        line.size()));
    }
    secrets.emplace_back(line);
  }
  if (secrets.empty() || secrets.size() > 2) {
    return bad_file(file, fmt::format("it has {} secrets; give one, or two on two lines: the one "
                                      "to use, and the other that is taken as well",
                                      secrets.size()));
  }
  return std::make_shared<const PeerSecrets>(std::move(secrets));
}

Result<Bytes> PeerSecrets::prove(Role role, std::span<const std::byte> transcript,
                                 std::size_t secret) const {
  Bytes message;
  append_part(message, view_of(role == Role::kCaller ? kCallerLabel : kCalleeLabel));
  append(message, transcript);
  return hmac_sha256(view_of(secrets_.at(secret).text()), message);
}

Result<std::size_t> PeerSecrets::check(Role role, std::span<const std::byte> transcript,
                                       std::span<const std::byte> proof) const {
  for (std::size_t i = 0; i < secrets_.size(); ++i) {
    TRY_ASSIGN(const Bytes expected, prove(role, transcript, i));
    if (equal_constant_time(expected, proof)) return i;
  }
  return make_error(Code::kPermission,
                    "the other node's secret is another one: give every node the same "
                    "--secret-file (to replace a secret, see docs/security.md)");
}

}  // namespace shufflefs::net
