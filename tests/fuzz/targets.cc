#include "tests/fuzz/targets.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <set>
#include <string>
#include <variant>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/escape.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "fs/namespace.h"
#include "main/cluster_view.h"
#include "main/config.h"
#include "merge/commits.h"
#include "merge/map_output.h"
#include "merge/merged_view.h"
#include "merge/partition_index.h"
#include "merge/plan_codec.h"
#include "net/ess/auth/auth_engine.h"
#include "net/ess/auth/sasl.h"
#include "net/membership.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/session_targets.h"
#include "tests/fuzz/state_targets.h"
#include "tests/net/decode_everything.h"
#include "tests/net/ess/decode_spark.h"

namespace shufflefs::fuzz {
namespace {

std::string_view text_of(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

void peer_wire(Input input) {
  (void)net::testing::decode_as_frame(input);
  (void)net::testing::decode_as_header(input, input.size() % 16);
}

void spark_frames(Input input) {
  (void)net::ess::testing::decode_frames(input);
  (void)net::ess::testing::decode_one_frame(input);
  (void)net::ess::testing::decode_rpc_body(input);
}

void spark_auth(Input input) {
  if (const auto sasl = net::ess::decode_sasl_message(input))
    (void)net::ess::encode_sasl_message(*sasl);
  if (const auto message = net::ess::decode_auth_message(input))
    (void)net::ess::encode_auth_message(*message);
  (void)net::ess::parse_directives(text_of(input));
}

void spark_index(Input input) {
  const uint64_t size = input.size() * 3;
  for (const uint64_t data_bytes : {uint64_t{0}, size, uint64_t{UINT64_MAX}}) {
    const auto offsets = merge::parse_spark_index(input, data_bytes, "index");
    if (!offsets) continue;
    require(offsets->size() * sizeof(uint64_t) == input.size());
    require(std::ranges::is_sorted(*offsets) && offsets->back() == data_bytes);
  }
}

void check_partition_index(Input input) {
  const auto parsed =
      merge::parse_index(input, merge::ShuffleId{1}, merge::PartitionId{2}, 3, "index");
  if (!parsed) return;
  require(parsed->valid_bytes <= input.size());
  require(parsed->valid_bytes == (parsed->records.size() + 1) * merge::kIndexRecordBytes);
  for (const merge::IndexRecord& record : parsed->records)
    require(record.removal ? record.length == 0 : record.length > 0);
  // Each map output once, and one block behind the other.
  const merge::MergedView view(parsed->records);
  std::set<merge::MapId> maps;
  uint64_t end = 0;
  for (const merge::MergedView::Entry& entry : view.entries()) {
    require(maps.insert(entry.record.map).second && entry.view_offset == end);
    end += entry.record.length;
  }
  require(view.bytes() == end);
}

// As it is, and with the header and all checksums made right, which no change at random survives.
void partition_index(Input input) {
  check_partition_index(input);
  constexpr std::size_t kCrcAt = merge::kIndexRecordBytes - sizeof(uint32_t);
  const merge::IndexBytes header =
      merge::encode_index_header(merge::ShuffleId{1}, merge::PartitionId{2}, 3);
  std::vector<std::byte> sealed(header.begin(), header.end());
  sealed.insert(sealed.end(), input.begin(), input.end());
  for (std::size_t at = merge::kIndexRecordBytes; at + merge::kIndexRecordBytes <= sealed.size();
       at += merge::kIndexRecordBytes) {
    store_le(&sealed[at + kCrcAt], crc32c(std::span(sealed).subspan(at, kCrcAt)));
  }
  check_partition_index(sealed);
}

void partition_plan(Input input) {
  const auto plan = merge::decode_plan(text_of(input));
  if (plan) require(static_cast<bool>(merge::decode_plan(merge::encode_plan(*plan))));
}

// Names from the mount: what users make in local/ and maps/, and what they look up.
void names(Input input) {
  const std::string_view text = text_of(input);
  (void)merge::parse_spark_name(text);
  (void)merge::parse_generic_name(text);
  if (const auto app = merge::AppId::parse(text)) {
    require(app->str().find('/') == std::string::npos && !app->str().starts_with('.'));
  }
  // A whole path, component by component.
  fs::VirtualPath node;
  for (const std::string_view name : split(text, '/')) {
    auto below = fs::child(node, name);
    if (!below) return;
    node = *std::move(below);
    require(fs::path_of(node).find("..") == std::string::npos ||
            fs::path_of(node).find("/../") == std::string::npos);
    (void)fs::stable_inode_number(node);
  }
}

void configuration(Input input) {
  (void)net::parse_members(text_of(input));
  (void)parse_host_port(text_of(input));
  (void)parse_bytes(text_of(input));
  const Fd file(::memfd_create("config", MFD_CLOEXEC));
  if (::write(file.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size())) return;
  const LoadedConfig loaded =
      load_config({}, fmt::format("/proc/self/fd/{}", file.get()), {.will_mount = false});
  (void)describe(loaded.mistakes);
}

// What another node reports of itself, for the page about the cluster.
void node_reports(Input input) {
  const auto self = merge::NodeName::parse("self").value();
  const auto other = merge::NodeName::parse("other").value();
  std::vector<merge::PeerHealth> members(2);
  members[0].name = self;
  members[1].name = other;
  const std::string text(text_of(input));
  const auto json = cluster_json(self, members, {{self, text}, {other, text}});
  require(json.at("nodes").as_array().size() == members.size());
}

// What follows the marks of `out` that a reader of the format takes for others' text.
std::string unescaped(std::string_view out) {
  std::string text;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\\')
      text += out[++i] == 'n' ? '\n' : out[i];
    else
      text += out[i];
  }
  return text;
}

// Whatever others have written, in each format that it goes out in.
void escapes(Input input) {
  const std::string_view text = text_of(input);
  const std::string shown = printable(text);
  require(is_printable(shown) && printable(shown) == shown);
  require(is_printable(text) == (shown == text));
  std::string lines = printable_lines(text);
  require(std::ranges::count(lines, '\n') == std::ranges::count(text, '\n'));
  std::erase(lines, '\n');
  require(is_printable(lines));
  // JSON keeps control characters, in its own way.
  const std::string json = json_text(boost::json::array{std::string(text)});
  require(is_printable(json));
  require(printable(boost::json::parse(json).at(0).as_string()) == shown);
  for (const std::string& line :
       {format_log_line("x", {{"v", text}}), format_log_json("x", {{"v", text}})})
    require(is_printable(line));
  const std::string label = metrics_label(text);
  require(is_printable(label));
  require(unescaped(label) == printable_lines(text));
  for (const std::size_t most : {std::size_t{0}, text.size() / 2, text.size()}) {
    const std::string_view prefix = text_prefix(text, most);
    require(prefix.size() <= most && text.starts_with(prefix));
    require(!is_printable(text) || is_printable(prefix));
  }
}

constexpr std::array kTargets = {
    Target{"peer_wire", peer_wire},
    Target{"spark_frames", spark_frames},
    Target{"spark_auth", spark_auth},
    Target{"spark_index", spark_index},
    Target{"partition_index", partition_index},
    Target{"partition_plan", partition_plan},
    Target{"names", names},
    Target{"configuration", configuration},
    Target{"takeover_state", takeover_state},
    Target{"kept_files", kept_files},
    Target{"map_files", map_files},
    Target{"table_log", table_log},
    Target{"block_list", block_list},
    Target{"spark_ciphers", spark_ciphers},
    Target{"node_reports", node_reports},
    Target{"escapes", escapes},
    Target{"peer_session", peer_session, true},
    Target{"spark_session", spark_session, true},
    Target{"http_session", http_session, true},
};

}  // namespace

std::span<const Target> targets() { return kTargets; }

const Target* find_target(std::string_view name) {
  const auto* const it = std::ranges::find(kTargets, name, &Target::name);
  return it == kTargets.end() ? nullptr : it;
}

}  // namespace shufflefs::fuzz
