#include "net/peer_auth.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/endian.h"
#include "base/log.h"
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
    if (line.size() < kMinSecretBytes) {
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

PeerAuth::PeerAuth(Runtime& runtime, PeerAuthFiles files)
    : runtime_(runtime), files_(std::move(files)), gate_(runtime, "peer_auth") {}

PeerAuth::~PeerAuth() = default;

// Following links: Kubernetes replaces a secret by another target of one.
PeerAuth::Fingerprint PeerAuth::fingerprint() const {
  Fingerprint print;
  for (const std::string& file :
       {files_.secret, files_.tls.certificate, files_.tls.key, files_.tls.ca}) {
    struct stat info = {};
    if (file.empty() || ::stat(file.c_str(), &info) != 0) continue;
    print[file] = fmt::format("{} {} {} {}.{}", info.st_dev, info.st_ino, info.st_size,
                              info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
  return print;
}

Status PeerAuth::load() {
  // Before the reading: what changes meanwhile is read again.
  Fingerprint print = fingerprint();
  std::shared_ptr<const PeerSecrets> secrets;
  std::shared_ptr<TlsContext> tls;
  if (!files_.secret.empty()) {
    TRY_ASSIGN(secrets, PeerSecrets::read(files_.secret));
  }
  if (!files_.tls.certificate.empty()) {
    TRY_ASSIGN(tls, make_tls_context(files_.tls));
  }
  loaded_ = std::move(print);
  const MutexLock lock(mu_);
  secrets_ = std::move(secrets);
  tls_ = std::move(tls);
  return ok();
}

Result<bool> PeerAuth::reload_if_changed() {
  if (fingerprint() == loaded_) return false;
  TRY(load());
  return true;
}

void PeerAuth::start(Duration interval) {
  if (!files_.secret.empty() || !files_.tls.certificate.empty()) gate_.spawn(watch(interval));
}

Task<void> PeerAuth::stop() { co_await gate_.close(); }

Task<void> PeerAuth::watch(Duration interval) {
  while (true) {
    co_await sleep_for(runtime_, interval);
    const auto reloaded = co_await offload(runtime_, [this] { return reload_if_changed(); });
    if (!reloaded) {
      log_limited(LogLevel::kWarning, "peer.auth_not_reloaded",
                  {{"reason", reloaded.error().message},
                   {"consequence", "the secret and certificates read before stay in use"}});
    } else if (*reloaded) {
      log_info("peer.auth_reloaded", {});
    }
  }
}

std::shared_ptr<const PeerSecrets> PeerAuth::secrets() const {
  const MutexLock lock(mu_);
  return secrets_;
}

std::shared_ptr<TlsContext> PeerAuth::tls() const {
  const MutexLock lock(mu_);
  return tls_;
}

}  // namespace shufflefs::net
