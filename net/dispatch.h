// Turns a request frame into a call of merge::NodeApi and its result into a response frame.
//
// Threads: reactor. Failure: an error of the node becomes an Error frame, and the connection goes
// on, as does a request in another node's name (kPermission); a request that does not decode is
// `malformed`, and the connection should be closed after the response. Bound: the node's own.
#pragma once

#include <optional>

#include "net/connection.h"
#include "net/messages.h"

namespace shufflefs::net {

struct Reply {
  Bytes head;  // from encode_frame_head
  Buffer payload;
  std::optional<Error> malformed;  // the head is an Error frame saying so
};

// Who is asked, and by whom.
struct Asked {
  merge::NodeApi& node;
  uint64_t incarnation = 0;
  merge::NodeName caller;          // as the handshake gave it
  MemberTable* members = nullptr;  // none: the responses to those who ask for them are empty
};

[[nodiscard]] Bytes encode_error_head(const Error& error);

// REQUIRES: the node and the members outlive the call.
[[nodiscard]] Task<Reply> dispatch(Asked asked, Frame request);

}  // namespace shufflefs::net
