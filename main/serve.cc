#include "main/serve.h"

#include <filesystem>

#include "base/log.h"
#include "main/commands.h"
#include "main/control_socket.h"
#include "main/supervisor.h"
#include "main/version.h"

namespace shufflefs {
namespace {

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

int run_serve(const Settings& settings, Start start) {
  log_set_level(settings.log_level);
  log_set_format(settings.log_format);
  log_info("serve.starting",
           {{"version", kVersion}, {"node", settings.node.str()}, {"mount", settings.mount}});
  if (listens_everywhere(settings.peer_listen)) {
    log_warning("peer.listens_everywhere",
                {{"address", to_string(settings.peer_listen)},
                 {"meaning", "whoever reaches this port can read and write shuffle data"},
                 {"remedy", "set --peer-listen to an address inside the cluster's network"}});
  }
  if (!make_data_directories(settings)) return kExitUsage;
  Supervisor supervisor(settings);
  if (start == Start::kInPod) supervisor.stay_after_handover();
  const bool takes_over =
      start == Start::kTakeOver || (start == Start::kInPod && can_take_over(settings));
  if (const int exit_code = takes_over ? supervisor.take_over() : supervisor.mount();
      exit_code != kExitOk) {
    return exit_code;
  }
  return supervisor.run();
}

}  // namespace shufflefs
