// The commands about shuffles: `ls`, `show`, `drop`, `verify`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iostream>

#include "base/parse.h"
#include "main/client.h"
#include "main/commands.h"
#include "main/pages.h"
#include "merge/partition_sizes.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
constexpr auto kShuffleTimeout = std::chrono::seconds(20);
constexpr const char* kShufflesPath = "/api/v1/shuffles/";

// ---- ls ----

struct LsOptions : NamedOptions {
  bool names = false;
};

Result<int> run_ls(const HostPort& node, const LsOptions& options) {
  if (!options.name.empty()) TRY(merge::AppId::parse(options.name));
  TRY_ASSIGN(auto names, fetch_shuffle_names(node));
  std::erase_if(names, [&](const merge::ShuffleKey& key) {
    return !options.name.empty() && key.app.str() != options.name;
  });
  if (options.names) {
    for (const merge::ShuffleKey& key : names) std::cout << to_string(key) << "\n";
    return kExitOk;
  }
  json::array list;
  for (const merge::ShuffleKey& key : names) {
    auto shuffle =
        api_call(net::HttpMethod::kGet, node, kShufflesPath + to_string(key), kShuffleTimeout);
    if (!shuffle && shuffle.error().code == Code::kNotFound) continue;  // it went meanwhile
    if (!shuffle) return shuffle.error();
    list.push_back(std::move(*shuffle));
  }
  const json::value answer = json::object{{"shuffles", std::move(list)}};
  if (options.json)
    print_json(answer);
  else
    std::cout << shuffle_list_page(View(answer).list("shuffles"), Terminal::of(1));
  return kExitOk;
}

// ---- show ----

struct ShowOptions : NamedOptions {
  bool all = false;
  [[nodiscard]] std::size_t max_rows() const { return all ? SIZE_MAX : 20; }
};

// The pages' arrays one after the other, in the object of the first page.
Result<json::value> fetch_whole(const HostPort& node, const std::string& path, const char* array) {
  json::object whole;
  TRY(fetch_pages(node, path, [&](const json::value& page) {
    const auto* const object = page.if_object();
    if (object == nullptr) return;
    const bool is_first = whole.empty();
    if (is_first) {
      whole = *object;
      whole[array] = json::array();
    }
    for (const View item : View(page).list(array)) whole[array].as_array().push_back(item.value());
  }));
  whole.erase("next");
  return json::value(std::move(whole));
}

Result<int> run_show(const HostPort& node, const ShowOptions& options) {
  TRY_ASSIGN(const ShufflePath path, parse_shuffle_path(options.name));
  const std::string partitions_path = "/api/v1/partitions/" + options.name;
  if (path.partition) {
    TRY_ASSIGN(const json::value partition, fetch_whole(node, partitions_path, "list"));
    if (options.json)
      print_json(partition);
    else
      std::cout << partition_page(to_string(path.shuffle), partition, options.max_rows());
    return kExitOk;
  }
  TRY_ASSIGN(const json::value shuffle,
             api_call(net::HttpMethod::kGet, node, kShufflesPath + options.name, kShuffleTimeout));
  TRY_ASSIGN(const json::value partitions, fetch_whole(node, partitions_path, "partitions"));
  const View view = partitions;
  if (options.json) {
    print_json(json::object{{"shuffle", shuffle},
                            {"partitions", view.at("partitions").value()},
                            {"may_miss", view.at("may_miss").value()}});
    return kExitOk;
  }
  std::cout << shuffle_page(shuffle, view.list("partitions"), options.max_rows(), Terminal::of(1));
  for (const std::string& reason : view.texts("may_miss"))
    std::cout << fmt::format("partitions may be missing: {}\n", reason);
  return kExitOk;
}

// ---- drop ----

Result<int> run_drop(const HostPort& node, const NamedOptions& options) {
  if (options.name.find('/') != std::string::npos) {
    TRY(merge::parse_shuffle_key(options.name));
  } else {
    TRY(merge::AppId::parse(options.name));
  }
  const auto answer = api_call(net::HttpMethod::kDelete, node, kShufflesPath + options.name,
                               std::chrono::seconds(30));
  const bool is_unknown = !answer && answer.error().code == Code::kNotFound;
  if (!answer && !is_unknown) return answer.error();
  if (options.json) {
    print_json(json::object{{"name", options.name}, {"dropped", !is_unknown}});
  } else {
    std::cout << options.name
              << (is_unknown ? ": no node knows it, nothing to drop\n"
                             : ": dropped on all nodes\n");
  }
  return kExitOk;
}

// ---- verify ----

class Verification {
 public:
  void add_partition() { ++count("partitions"); }
  void add(View page) {
    for (const char* const name :
         {"blocks", "bytes", "merged_right", "origins_right", "origins_gone", "lost_at_origin"})
      count(name) += page.number(name);
    for (const View finding : page.list("findings")) findings.push_back(finding.value());
    const std::string reason = page.text("incomplete");
    if (!reason.empty() && page.at("next").value().is_null())
      incomplete.push_back({{"partition", page.number("partition")}, {"reason", reason}});
  }
  uint64_t& count(const std::string& name) { return counts_[name]; }
  [[nodiscard]] bool good() const {
    return findings.empty() && incomplete.empty() && may_miss.empty();
  }
  [[nodiscard]] std::string page(const std::string& name);
  [[nodiscard]] json::object json(const std::string& name) const {
    json::object object{{"name", name}, {"good", good()}};
    for (const auto& [counted, number] : counts_) object[counted] = number;
    object["findings"] = findings;
    object["incomplete"] = incomplete;
    object["may_miss"] = json::array(may_miss.begin(), may_miss.end());
    return object;
  }

  json::array findings;
  json::array incomplete;             // with the partition
  std::vector<std::string> may_miss;  // why partitions may be missing

 private:
  std::map<std::string, uint64_t> counts_ = {
      {"partitions", 0},    {"blocks", 0},       {"bytes", 0},         {"merged_right", 0},
      {"origins_right", 0}, {"origins_gone", 0}, {"lost_at_origin", 0}};
};

std::string finding_text(View finding) {
  const uint64_t error = finding.number("errno");
  return fmt::format(
      "  partition {}, map {}: the {} on {} is bad ({}, offset {}, {} bytes{}): {}\n",
      finding.number("partition"), finding.number("map"),
      finding.text("copy") == "merged" ? "merged copy" : "original", finding.text("node"),
      finding.text("file"), finding.number("offset"), finding.number("bytes"),
      error == 0 ? "" : fmt::format(", errno {}", error), finding.text("reason"));
}

std::string Verification::page(const std::string& name) {
  std::string text = fmt::format(
      "{}: {} blocks in {} partitions, {} read: {} merged copies and {} originals are right", name,
      count("blocks"), count("partitions"), format_bytes(count("bytes")), count("merged_right"),
      count("origins_right"));
  if (count("origins_gone") > 0) {
    text +=
        fmt::format("; {} originals do not answer and were not compared", count("origins_gone"));
  }
  if (count("lost_at_origin") > 0)
    text += fmt::format("; {} originals are lost", count("lost_at_origin"));
  text += "\n";
  for (const json::value& finding : findings) text += finding_text(finding);
  for (const View lost : std::vector<View>(incomplete.begin(), incomplete.end())) {
    text += fmt::format("  partition {} is incomplete: {}\n", lost.number("partition"),
                        lost.text("reason"));
  }
  for (const std::string& reason : may_miss)
    text += fmt::format("  partitions may be missing: {}\n", reason);
  if (!findings.empty()) {
    text +=
        "  Readers notice a bad merged copy and take the original; a bad original of a block "
        "that is not merged fails them.\n";
  }
  return text;
}

// The partitions to look at; of very many only those that have bytes.
Result<std::vector<uint64_t>> partitions_of(const HostPort& node, const ShufflePath& path,
                                            std::vector<std::string>& may_miss) {
  if (path.partition) return std::vector<uint64_t>{merge::number(*path.partition)};
  const std::string name = to_string(path.shuffle);
  TRY_ASSIGN(const json::value shuffle,
             api_call(net::HttpMethod::kGet, node, kShufflesPath + name, kShuffleTimeout));
  std::vector<uint64_t> partitions;
  const uint64_t count = View(shuffle).number("partitions");
  if (count <= merge::kMostListed) {
    for (uint64_t partition = 0; partition < count; ++partition) partitions.push_back(partition);
    return partitions;
  }
  TRY(fetch_pages(node, "/api/v1/partitions/" + name, [&](const json::value& page) {
    for (const View partition : View(page).list("partitions"))
      partitions.push_back(partition.number("partition"));
    for (std::string& reason : View(page).texts("may_miss")) {
      if (std::ranges::find(may_miss, reason) == may_miss.end())
        may_miss.push_back(std::move(reason));
    }
  }));
  return partitions;
}

Result<int> run_verify(const HostPort& node, const NamedOptions& options) {
  TRY_ASSIGN(const ShufflePath path, parse_shuffle_path(options.name));
  Verification sums;
  TRY_ASSIGN(const auto partitions, partitions_of(node, path, sums.may_miss));
  const Terminal terminal = Terminal::of(2);
  for (const uint64_t partition : partitions) {
    const auto progress = [&](const json::value& page) {
      sums.add(page);
      if (!terminal.is_interactive()) return;
      std::cerr << fmt::format("\r{} partition {} of {}, {} read, {} bad \x1b[K",
                               terminal.bar(sums.count("partitions"), partitions.size()), partition,
                               partitions.size(), format_bytes(sums.count("bytes")),
                               sums.findings.size())
                << std::flush;
    };
    TRY(fetch_pages(node, fmt::format("/api/v1/verify/{}/{}", to_string(path.shuffle), partition),
                    progress));
    sums.add_partition();
  }
  if (terminal.is_interactive()) std::cerr << "\r\x1b[K" << std::flush;
  if (options.json)
    print_json(sums.json(options.name));
  else
    std::cout << sums.page(options.name);
  return sums.good() ? kExitOk : kExitBad;
}

}  // namespace

void add_ls_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "ls", "List all shuffles of the cluster: sizes and how much is merged", run_ls);
  command->add_option("app", options->name, "Only this application's")->type_name("APP");
  command->add_flag("--names", options->names, "Print only the names, one a line");
  command->footer(
      "Exit codes: 0 it answered; 1 it did not; 2 usage.\n\n"
      "  shufflefs ls --json | jq '.shuffles[] | select(.maps_given_up > 0) | .app'");
}

void add_show_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "show", "Show one shuffle and its skew, or one partition and its blocks",
      run_show);
  command->add_option("name", options->name, "What to show: APP/SHUFFLE or APP/SHUFFLE/PARTITION")
      ->required()
      ->type_name("APP/SHUFFLE[/PARTITION]");
  command->add_flag("--all", options->all, "List all partitions or blocks, not only 20");
  command->footer(
      "Exit codes: 0 it is shown; 1 the node does not answer, or no node knows it; 2 usage.\n\n"
      "  shufflefs show wordcount/0 --json | jq '[.partitions[].bytes] | max'");
}

void add_drop_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] =
      add_client_command(app, context, "drop",
                         "Drop an application's shuffles, or one of them, on all nodes", run_drop);
  command->add_option("name", options->name, "What to drop: APP or APP/SHUFFLE")
      ->required()
      ->type_name("APP[/SHUFFLE]");
  command->footer(
      "It asks nothing. The same as rm -r MOUNT/shuffles/APP[/SHUFFLE].\n"
      "Exit codes: 0 dropped, or there was nothing; 1 the node does not answer or refuses; 2 "
      "usage.");
}

void add_verify_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "verify", "Read every block of a shuffle and compare it with its checksum",
      run_verify);
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
}

}  // namespace shufflefs
