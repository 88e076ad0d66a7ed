#include "main/serve.h"

#include <filesystem>

#include "base/log.h"
#include "main/commands.h"
#include "main/control_socket.h"
#include "main/privileges.h"
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

void say_who_gets_in(const Settings& settings) {
  const PeerSecuritySettings& security = settings.peer_security;
  if (security.authenticates()) return;
  if (security.insecure) {
    log_warning("peer.insecure",
                {{"address", to_string(settings.peer_listen)},
                 {"meaning", "whoever reaches this port can read and write shuffle data"},
                 {"remedy", "give every node the same --secret-file"}});
  } else {
    log_info("peer.this_machine_only",
             {{"address", to_string(settings.peer_listen)},
              {"reason", "there is no --secret-file, no --tls-cert and no --insecure"}});
  }
}

}  // namespace

int run_serve(const Settings& settings, Start start) {
  log_set_level(settings.log_level);
  log_set_format(settings.log_format);
  log_info("serve.starting",
           {{"version", kVersion}, {"node", settings.node.str()}, {"mount", settings.mount}});
  say_who_gets_in(settings);
  if (!make_data_directories(settings)) return kExitUsage;
  give_up_privileges();  // the workers have no more than it
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
