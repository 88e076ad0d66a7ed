#include "main/serve.h"

#include <chrono>
#include <filesystem>

#include "base/log.h"
#include "main/commands.h"
#include "main/node.h"
#include "main/signal_watch.h"
#include "main/version.h"

namespace shufflefs {
namespace {

// Of the ten seconds that a stop may take, one is for the end by force.
constexpr auto kStopPatience = std::chrono::seconds(9);

bool make_data_directories(const Settings& settings) {
  bool all_made = true;
  for (const std::string& directory : settings.data) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (!error) continue;
    all_made = false;
    log_error("config.data_not_made", {{"data", directory}, {"reason", error.message()}});
  }
  return all_made;
}

bool listens_everywhere(const HostPort& address) {
  return address.host == "0.0.0.0" || address.host == "::";
}

}  // namespace

int run_serve(const Settings& settings) {
  log_set_level(settings.log_level);
  SignalWatch signals(settings.mount, kStopPatience);
  log_info("serve.starting",
           {{"version", kVersion}, {"node", settings.node.str()}, {"mount", settings.mount}});
  if (listens_everywhere(settings.peer_listen)) {
    log_warning("peer.listens_everywhere",
                {{"address", to_string(settings.peer_listen)},
                 {"meaning", "whoever reaches this port can read and write shuffle data"},
                 {"remedy", "set --peer-listen to an address inside the cluster's network"}});
  }
  if (!make_data_directories(settings)) return kExitUsage;

  auto node = Node::start(settings, [&signals] { signals.request_stop(); });
  if (!node) {
    log_error("serve.failed",
              {{"code", to_string(node.error().code)}, {"reason", node.error().message}});
    return node.error().code == Code::kConfig ? kExitUsage : kExitFailure;
  }
  log_info("serve.ready", {{"node", settings.node.str()},
                           {"mount", settings.mount},
                           {"peers", to_string(settings.peer_listen)},
                           {"http", to_string(settings.http_listen)}});
  const bool was_asked = signals.wait();
  (*node)->stop();
  node->reset();
  log_info("serve.stopped", {{"node", settings.node.str()}});
  return was_asked ? kExitOk : kExitFailure;
}

}  // namespace shufflefs
