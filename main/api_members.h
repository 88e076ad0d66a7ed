// The HTTP side of `shufflefs forget`:
//
//   DELETE /api/v1/members/NAME   the member is gone for good; all members hear of it
//
// 404 if it is no member, 409 while it answers. Threads: reactor. Ownership: the membership
// outlives the server.
#pragma once

#include "net/admin_http.h"
#include "net/membership.h"

namespace shufflefs {

void add_members_route(net::AdminHttp& http, net::Membership& membership);

}  // namespace shufflefs
