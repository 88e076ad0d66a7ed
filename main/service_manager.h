// What systemd is told about a unit of Type=notify, as sd_notify(3) does it: "READY=1",
// "STOPPING=1", "MAINPID=<pid>".
//
// Threads: any. Failure: logged; systemd then waits in vain, and says so. Cost: one datagram;
// nothing without NOTIFY_SOCKET in the environment.
#pragma once

#include <string_view>

namespace shufflefs {

void tell_service_manager(std::string_view state);

}  // namespace shufflefs
