// The option --members: a list of nodes, or the DNS name under which all of them are found.
//
// Pure functions, any thread. Failure: kConfig naming every mistake and the remedy.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/parse.h"
#include "merge/ids.h"

namespace shufflefs::net {

struct Member {
  merge::NodeName name;
  HostPort address;
};

struct MemberSpec {
  std::vector<Member> fixed;
  std::optional<HostPort> dns;  // then `fixed` is empty
  [[nodiscard]] bool contains(const merge::NodeName& name) const;
};

// "NAME=ADDR:PORT,...", "dns:HOST:PORT", or nothing: this node alone. The port may be left out
// (7338).
[[nodiscard]] Result<MemberSpec> parse_members(std::string_view text);

}  // namespace shufflefs::net
