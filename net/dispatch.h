// Turns a request frame into a call of merge::NodeApi and its result into an answer frame.
//
// Threads: reactor. Failure: an error of the node becomes an Error frame, and the connection goes
// on; a request that does not decode is `malformed`, and the connection should be closed after the
// answer. Bound: the node's own.
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

[[nodiscard]] Bytes encode_error_head(const Error& error);

// REQUIRES: `local` and `members` outlive the call; the frame's type is one of kRequestTypes.
// Without members, the answers to those who ask for them are empty.
[[nodiscard]] Task<Reply> dispatch(std::reference_wrapper<merge::NodeApi> local,
                                   uint64_t incarnation, Frame request,
                                   MemberTable* members = nullptr);

}  // namespace shufflefs::net
