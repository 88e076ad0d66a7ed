// `shufflefs verify APP/SHUFFLE[/PARTITION]`: reads every copy of every block and compares it with
// the checksum that the index has.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iostream>

#include "base/parse.h"
#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/json_read.h"
#include "main/partition_view.h"
#include "main/terminal.h"
#include "merge/partition_sizes.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

struct VerifySums {
  uint64_t partitions = 0;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  uint64_t merged_right = 0;
  uint64_t origins_right = 0;
  uint64_t origins_gone = 0;
  uint64_t lost_at_origin = 0;
  json::array findings;
  json::array incomplete;             // with the partition
  std::vector<std::string> may_miss;  // why partitions may be missing

  void add(const json::value& page) {
    blocks += json_read::number(page, "blocks");
    bytes += json_read::number(page, "bytes");
    merged_right += json_read::number(page, "merged_right");
    origins_right += json_read::number(page, "origins_right");
    origins_gone += json_read::number(page, "origins_gone");
    lost_at_origin += json_read::number(page, "lost_at_origin");
    if (const auto* const more = json_read::member(page, "findings").if_array())
      findings.insert(findings.end(), more->begin(), more->end());
    const std::string reason = json_read::text(page, "incomplete");
    if (!reason.empty() && !page.as_object().contains("next"))
      incomplete.push_back(
          {{"partition", json_read::number(page, "partition")}, {"reason", reason}});
  }
  [[nodiscard]] bool good() const {
    return findings.empty() && incomplete.empty() && may_miss.empty();
  }
};

std::string finding_text(const json::value& finding) {
  const uint64_t error = json_read::number(finding, "errno");
  return fmt::format(
      "  partition {}, map {}: the {} on {} is bad ({}, offset {}, {} bytes{}): {}\n",
      json_read::number(finding, "partition"), json_read::number(finding, "map"),
      json_read::text(finding, "copy") == "merged" ? "merged copy" : "original",
      json_read::text(finding, "node"), json_read::text(finding, "file"),
      json_read::number(finding, "offset"), json_read::number(finding, "bytes"),
      error == 0 ? "" : fmt::format(", errno {}", error), json_read::text(finding, "reason"));
}

std::string verify_page(const std::string& name, const VerifySums& sums) {
  std::string text = fmt::format(
      "{}: {} blocks in {} partitions, {} read: {} merged copies and {} originals are right", name,
      sums.blocks, sums.partitions, format_bytes(sums.bytes), sums.merged_right,
      sums.origins_right);
  if (sums.origins_gone > 0)
    text += fmt::format("; {} originals do not answer and were not compared", sums.origins_gone);
  if (sums.lost_at_origin > 0) text += fmt::format("; {} originals are lost", sums.lost_at_origin);
  text += "\n";
  for (const json::value& finding : sums.findings) text += finding_text(finding);
  for (const json::value& lost : sums.incomplete) {
    text += fmt::format("  partition {} is incomplete: {}\n", json_read::number(lost, "partition"),
                        json_read::text(lost, "reason"));
  }
  for (const std::string& reason : sums.may_miss)
    text += fmt::format("  partitions may be missing: {}\n", reason);
  if (!sums.findings.empty())
    text +=
        "  Readers notice a bad merged copy and take the original; a bad original of a block "
        "that is not merged fails them.\n";
  return text;
}

struct VerifyOptions {
  ClientOptions client;
  std::string name;
};

// The partitions to look at; of very many only those that have bytes.
Result<std::vector<uint64_t>> partitions_of(const HostPort& address, const ShufflePath& path,
                                            std::vector<std::string>& may_miss) {
  if (path.partition) return std::vector<uint64_t>{merge::number(*path.partition)};
  TRY_ASSIGN(const json::value answer,
             api_call(net::HttpMethod::kGet, address, "/api/v1/shuffles/" + to_string(path.shuffle),
                      std::chrono::seconds(20)));
  std::vector<uint64_t> partitions;
  const uint64_t count = json_read::number(answer, "partitions");
  if (count <= merge::kMostListed) {
    for (uint64_t partition = 0; partition < count; ++partition) partitions.push_back(partition);
    return partitions;
  }
  TRY(fetch_pages(
      address, "/api/v1/partitions/" + to_string(path.shuffle), [&](const json::value& page) {
        for (const PartitionView& one : json_read::list(page, "partitions", partition_view))
          partitions.push_back(one.partition);
        for (std::string& reason : json_read::texts(page, "may_miss")) {
          if (std::ranges::find(may_miss, reason) == may_miss.end())
            may_miss.push_back(std::move(reason));
        }
      }));
  return partitions;
}

int run_verify(const VerifyOptions& options) {
  const auto address = api_address(options.client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto path = parse_shuffle_path(options.name);
  if (!path) return complain(path.error().message, kExitUsage);
  VerifySums sums;
  const auto partitions = partitions_of(*address, *path, sums.may_miss);
  if (!partitions) return complain(partitions.error().message, kExitFailure);
  const Terminal terminal = Terminal::of(2);
  for (const uint64_t partition : *partitions) {
    const auto progress = [&](const json::value& page) {
      sums.add(page);
      if (!terminal.is_interactive()) return;
      std::cerr << fmt::format("\r{} partition {} of {}, {} read, {} bad \x1b[K",
                               terminal.bar(sums.partitions, partitions->size()), partition,
                               partitions->size(), format_bytes(sums.bytes), sums.findings.size())
                << std::flush;
    };
    const Status read = fetch_pages(
        *address, fmt::format("/api/v1/verify/{}/{}", to_string(path->shuffle), partition),
        progress);
    if (!read) return complain(read.error().message, kExitFailure);
    ++sums.partitions;
  }
  if (terminal.is_interactive()) std::cerr << "\r\x1b[K" << std::flush;
  const int exit_code = sums.good() ? kExitOk : kExitBad;
  if (!options.client.json) {
    std::cout << verify_page(options.name, sums);
    return exit_code;
  }
  print_json(json::object{{"name", options.name},
                          {"good", sums.good()},
                          {"partitions", sums.partitions},
                          {"blocks", sums.blocks},
                          {"bytes", sums.bytes},
                          {"merged_right", sums.merged_right},
                          {"origins_right", sums.origins_right},
                          {"origins_gone", sums.origins_gone},
                          {"lost_at_origin", sums.lost_at_origin},
                          {"findings", std::move(sums.findings)},
                          {"incomplete", std::move(sums.incomplete)},
                          {"may_miss", json::array(sums.may_miss.begin(), sums.may_miss.end())}});
  return exit_code;
}

}  // namespace

void add_verify_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* const command = add_client_command(
      app, "verify", "Read every block of a shuffle and compare it with its checksum",
      options->client);
  command->add_option("name", options->name, "What to read: APP/SHUFFLE or APP/SHUFFLE/PARTITION")
      ->required()
      ->type_name("APP/SHUFFLE[/PARTITION]");
  command->footer(
      "Each merged copy is compared with the crc32c of its index, and so is the original where it\n"
      "was written. A block that is not merged has no checksum: it is read at both ends. It reads\n"
      "everything once over the network. An original that its node has lost although nobody\n"
      "removed it is named as well: merged copies serve it.\n"
      "Exit codes: 0 everything is right; 1 the node does not answer, or no node knows it; 2 "
      "usage;\n"
      "3 some copy is bad or lost, or a partition is incomplete.");
  command->callback([options, &context] { context.exit_code = run_verify(*options); });
}

}  // namespace shufflefs
