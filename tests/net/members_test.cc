#include "net/membership.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

TEST_CASE("a list of members", "[members]") {
  const auto spec = parse_members("node1=127.0.0.11:7338,node2=[::1]:9,node3=host");
  REQUIRE(spec);
  REQUIRE(spec->fixed.size() == 3);
  CHECK(!spec->dns);
  CHECK(spec->fixed[1].name == node_name("node2"));
  CHECK(spec->fixed[1].address == HostPort{"::1", 9});
  CHECK(spec->fixed[2].address == HostPort{"host", 7338});
  CHECK(spec->contains(node_name("node3")));
  CHECK(!spec->contains(node_name("node4")));
}

TEST_CASE("members by DNS, and none", "[members]") {
  CHECK(*parse_members("dns:shufflefs.default.svc:7338")->dns ==
        HostPort{"shufflefs.default.svc", 7338});
  CHECK(*parse_members("dns:shufflefs")->dns == HostPort{"shufflefs", 7338});
  CHECK(parse_members("")->fixed.empty());
  CHECK(parse_members("dns:").error().code == Code::kConfig);
}

TEST_CASE("every mistake in a list of members is reported", "[members]") {
  const auto spec = parse_members("node1=a:1,node1=b:1,node2=a:1,nothing,../x=c:1,node4=d:0");
  REQUIRE(!spec);
  CHECK(spec.error().code == Code::kConfig);
  const std::string& message = spec.error().message;
  CHECK_THAT(message, ContainsSubstring("the name node1 is there twice"));
  CHECK_THAT(message, ContainsSubstring("the address a:1 is there twice"));
  CHECK_THAT(message, ContainsSubstring("'nothing' has no '='"));
  CHECK_THAT(message, ContainsSubstring("../x"));
  CHECK_THAT(message, ContainsSubstring("d:0"));
}

}  // namespace
}  // namespace shufflefs::net::testing
