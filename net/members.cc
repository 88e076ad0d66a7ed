#include "net/members.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "net/context.h"

namespace shufflefs::net {
namespace {

constexpr std::string_view kDnsPrefix = "dns:";

Result<Member> parse_member(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) {
    return make_error(Code::kConfig, fmt::format("'{}' has no '=': write NAME=ADDR:PORT", text));
  }
  TRY_ASSIGN(merge::NodeName name, merge::NodeName::parse(text.substr(0, equals)));
  TRY_ASSIGN(HostPort address, parse_host_port(text.substr(equals + 1), kDefaultPeerPort));
  return Member{std::move(name), std::move(address)};
}

}  // namespace

bool MemberSpec::contains(const merge::NodeName& name) const {
  return std::ranges::any_of(fixed, [&name](const Member& member) { return member.name == name; });
}

Result<MemberSpec> parse_members(std::string_view text) {
  MemberSpec spec;
  if (text.empty()) return spec;
  if (text.starts_with(kDnsPrefix)) {
    auto address = parse_host_port(text.substr(kDnsPrefix.size()), kDefaultPeerPort);
    if (!address)
      return make_error(Code::kConfig,
                        fmt::format("--members {}: {}", text, address.error().message));
    spec.dns = *std::move(address);
    return spec;
  }
  std::vector<std::string> mistakes;
  for (const std::string_view part : split(text, ',')) {
    auto member = parse_member(part);
    if (!member) {
      mistakes.push_back(std::move(member).error().message);
      continue;
    }
    if (spec.contains(member->name))
      mistakes.push_back(fmt::format("the name {} is there twice", member->name.str()));
    const bool same_address = std::ranges::any_of(
        spec.fixed, [&member](const Member& other) { return other.address == member->address; });
    if (same_address)
      mistakes.push_back(fmt::format("the address {} is there twice", to_string(member->address)));
    spec.fixed.push_back(*std::move(member));
  }
  if (!mistakes.empty()) {
    return make_error(Code::kConfig, fmt::format("--members: {}", fmt::join(mistakes, "; ")));
  }
  return spec;
}

}  // namespace shufflefs::net
