#include "net/peer_auth.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/log.h"

namespace shufflefs::net {

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
