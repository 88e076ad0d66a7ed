#include "main/pages.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

#include "base/parse.h"

namespace shufflefs {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string name_of(View shuffle) {
  return fmt::format("{}/{}", shuffle.text("app"), shuffle.number("shuffle"));
}

// How many bytes a member says.
std::string bytes_in(View view, std::string_view name) { return format_bytes(view.number(name)); }
std::string count_in(View view, std::string_view name) { return std::to_string(view.number(name)); }

std::string duration_text(double seconds) {
  const auto whole = static_cast<uint64_t>(seconds);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", whole / 60);
  return fmt::format("{} h", whole / 3600);
}

std::string peers_text(View status, const Terminal& terminal) {
  Rows rows;
  for (const View peer : status.list("peers")) {
    rows.push_back({peer.text("name"), peer.text("address"), peer_state(peer, terminal),
                    peer.flag("self") ? "this node" : peer_note(peer)});
  }
  std::string text =
      terminal.paint(Colour::kBold, "Peers") + "\n" + (rows.empty() ? "  none\n" : align(rows));
  for (const View difference : status.at("members").list("differences"))
    text += fmt::format("  {} {}\n", terminal.paint(Colour::kRed, "lists differ:"),
                        difference_text(difference));
  return text;
}

std::string disks_text(View status, const Terminal& terminal) {
  Rows rows;
  for (const View disk : status.list("disks")) {
    rows.push_back({disk.text("name"), disk.text("path"),
                    fmt::format("{} free of {}", bytes_in(disk, "free_bytes"),
                                bytes_in(disk, "total_bytes"))});
  }
  return terminal.paint(Colour::kBold, "Disks") + "\n" + (rows.empty() ? "  none\n" : align(rows));
}

std::string spark_text(View status, const Terminal& terminal) {
  const View spark = status.at("spark");
  const std::string text =
      spark.text("listen").empty()
          ? std::string("off")
          : fmt::format("{}{}: {} executors of {} applications, {} connections, {} requests open",
                        spark.text("listen"),
                        spark.flag("authentication") ? " (with authentication)" : "",
                        spark.number("executors"), spark.number("applications"),
                        spark.number("connections"), spark.number("streams"));
  return fmt::format("{}\n  {}\n", terminal.paint(Colour::kBold, "Spark's shuffle service"), text);
}

std::string shuffles_text(View status, const Terminal& terminal) {
  std::string text = terminal.paint(Colour::kBold, "Shuffles") + "\n";
  if (status.list("shuffles").empty()) return text + "  none yet\n";
  Rows rows = {
      {"SHUFFLE", "MAPS", "MAPS MERGED", "PARTITIONS", "MAP BYTES", "MERGED", "LEFT AT ORIGIN"}};
  for (const View shuffle : status.list("shuffles")) {
    const std::string left = shuffle.number("blocks_left_home") == 0
                                 ? "-"
                                 : fmt::format("{} blocks, {}", shuffle.number("blocks_left_home"),
                                               bytes_in(shuffle, "bytes_left_home"));
    rows.push_back({name_of(shuffle), count_in(shuffle, "maps"),
                    shuffle.number("maps") == 0
                        ? "-"
                        : terminal.bar(shuffle.number("maps_settled"), shuffle.number("maps")),
                    count_in(shuffle, "partitions"), bytes_in(shuffle, "bytes"),
                    fmt::format("{} in {} partitions", bytes_in(shuffle, "merged_bytes"),
                                shuffle.number("merged_partitions")),
                    left});
  }
  text += align(rows);
  for (const View shuffle : status.list("shuffles")) text += shuffle_remarks(shuffle, terminal);
  return text;
}

}  // namespace

std::string peer_state(View peer, const Terminal& terminal) {
  return peer.flag("up") ? terminal.paint(Colour::kGreen, "up")
                         : terminal.paint(Colour::kRed, "down");
}

std::string peer_note(View peer) {
  return peer.flag("up") ? fmt::format("{:.1f} ms", peer.real("round_trip_ms"))
                         : peer.text("reason");
}

std::string unreachable_text(View node) {
  const std::string reason = node.text("reason");
  if (reason.starts_with(node.text("node"))) return reason;
  return fmt::format("{} ({})", node.text("node"), reason);
}

std::string difference_text(View difference) {
  const std::string node = difference.text("node");
  const auto there = difference.texts("missing_there");
  const auto here = difference.texts("missing_here");
  std::vector<std::string> parts;
  if (!there.empty())
    parts.push_back(fmt::format("{} does not know {}", node, fmt::join(there, ", ")));
  if (!here.empty()) {
    parts.push_back(
        fmt::format("this node does not know {}, which {} knows", fmt::join(here, ", "), node));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string shuffle_remarks(View shuffle, const Terminal& terminal) {
  const std::string name = name_of(shuffle);
  std::string text;
  for (const View given_up : shuffle.list("given_up")) {
    text += fmt::format("  {} {}: {}{} blocks ({}) will not be merged: {}\n",
                        terminal.paint(Colour::kYellow, "gave up"), name,
                        given_up.text("node").empty() ? "" : given_up.text("node") + ": ",
                        given_up.number("blocks"), bytes_in(given_up, "bytes"),
                        given_up.text("reason"));
  }
  if (shuffle.number("maps_unpushed") > 0) {
    text += fmt::format("  {} {}: {} map outputs, because pushing is switched off (push.enabled)\n",
                        terminal.paint(Colour::kYellow, "not pushed"), name,
                        shuffle.number("maps_unpushed"));
  }
  if (shuffle.number("maps_lost") > 0) {
    text += fmt::format("  {} {}: {} map outputs; only merged copies can be read\n",
                        terminal.paint(Colour::kRed, "lost at origin"), name,
                        shuffle.number("maps_lost"));
  }
  for (const std::string& refused : shuffle.texts("refused_commits")) {
    text += fmt::format("  {} {}: {}\n", terminal.paint(Colour::kRed, "refused"), name, refused);
  }
  for (const View node : shuffle.list("unreachable")) {
    text +=
        fmt::format("  {} {}: {}; its share is not counted\n",
                    terminal.paint(Colour::kYellow, "unreachable"), name, unreachable_text(node));
  }
  return text;
}

std::string status_page(View status, const Terminal& terminal) {
  return fmt::format(
      "{} (shufflefs {}), up for {}, mounted at {}\nlocal/: {} ({})\nMemory: {} of {} in "
      "use\n\n{}\n{}\n{}\n{}",
      terminal.paint(Colour::kBold, status.text("node")), status.text("version"),
      duration_text(status.real("uptime_s")), status.text("mount"), status.text("local_mode"),
      status.text("local_mode_reason"), bytes_in(status.at("memory"), "used_bytes"),
      bytes_in(status.at("memory"), "budget_bytes"), peers_text(status, terminal),
      disks_text(status, terminal), spark_text(status, terminal), shuffles_text(status, terminal));
}

namespace {

std::string percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string skew_text(const Skew& skew, const Terminal& terminal) {
  constexpr std::size_t kWidth = 40;
  if (skew.classes.empty()) return "";
  std::size_t most = 0;
  for (const Skew::Class& size : skew.classes) most = std::max(most, size.partitions);
  std::string text = terminal.paint(Colour::kBold, "Sizes of partitions");
  text += fmt::format(
      ": median {}, largest {} ({}, {:.1f} times the median)\n", format_bytes(skew.median),
      format_bytes(skew.largest), skew.largest_partition,
      static_cast<double>(skew.largest) / static_cast<double>(std::max<uint64_t>(skew.median, 1)));
  Rows rows;
  if (skew.empty > 0) rows.push_back({"empty", fmt::format("{}", skew.empty), ""});
  for (const Skew::Class& size : skew.classes) {
    const std::size_t width = size.partitions == 0 ? 0 : 1 + (kWidth - 1) * size.partitions / most;
    rows.push_back({fmt::format("{} to {}", format_bytes(size.least), format_bytes(size.below)),
                    fmt::format("{}", size.partitions), std::string(width, '#')});
  }
  return text + align(rows);
}

std::string owner_of(View partition) {
  return partition.text("owner").empty() ? "?" : partition.text("owner");
}

}  // namespace

std::string shuffle_list_page(const std::vector<View>& shuffles, const Terminal& terminal) {
  if (shuffles.empty()) return "no shuffles\n";
  Rows rows = {{"SHUFFLE", "MAPS", "PARTITIONS", "BYTES", "MERGED", "RATIO", "MAPS MERGED"}};
  std::string remarks;
  for (const View shuffle : shuffles) {
    rows.push_back({name_of(shuffle), count_in(shuffle, "maps"), count_in(shuffle, "partitions"),
                    bytes_in(shuffle, "bytes"), bytes_in(shuffle, "merged_bytes"),
                    percent(shuffle.number("merged_bytes"), shuffle.number("bytes")),
                    shuffle.number("maps") == 0
                        ? "-"
                        : terminal.bar(shuffle.number("maps_settled"), shuffle.number("maps"))});
    remarks += shuffle_remarks(shuffle, terminal);
  }
  return align(rows, "") + remarks;
}

Skew skew_of(const std::vector<View>& partitions) {
  Skew skew;
  std::vector<uint64_t> sizes;
  for (const View partition : partitions) {
    if (partition.number("bytes") == 0) {
      ++skew.empty;
      continue;
    }
    sizes.push_back(partition.number("bytes"));
    if (partition.number("bytes") > skew.largest) {
      skew.largest = partition.number("bytes");
      skew.largest_partition = partition.number("partition");
    }
  }
  if (sizes.empty()) return skew;
  std::sort(sizes.begin(), sizes.end());
  skew.median = sizes[(sizes.size() - 1) / 2];
  auto next = sizes.begin();
  for (uint64_t least = std::bit_floor(sizes.front()); next != sizes.end(); least *= 2) {
    const bool is_last = least > UINT64_MAX / 2;  // twice as much would be no number
    const uint64_t below = is_last ? UINT64_MAX : least * 2;
    const auto end = is_last ? sizes.end() : std::lower_bound(next, sizes.end(), below);
    skew.classes.push_back({least, below, static_cast<std::size_t>(end - next)});
    next = end;
  }
  return skew;
}

std::string shuffle_page(View shuffle, const std::vector<View>& partitions, std::size_t most,
                         const Terminal& terminal) {
  std::string text =
      fmt::format("{}: {} map outputs, {} partitions, {}; {} merged in {} partitions ({})\n",
                  terminal.paint(Colour::kBold, name_of(shuffle)), shuffle.number("maps"),
                  shuffle.number("partitions"), bytes_in(shuffle, "bytes"),
                  bytes_in(shuffle, "merged_bytes"), shuffle.number("merged_partitions"),
                  percent(shuffle.number("merged_bytes"), shuffle.number("bytes")));
  if (shuffle.number("blocks_left_home") > 0) {
    text += fmt::format(
        "  left at their origin, as they are above push.max-block-bytes: {} blocks, {}\n",
        shuffle.number("blocks_left_home"), bytes_in(shuffle, "bytes_left_home"));
  }
  text += shuffle_remarks(shuffle, terminal);
  for (const View partition : partitions) {
    if (partition.text("incomplete").empty()) continue;
    text += fmt::format("  {} partition {}: {}\n", terminal.paint(Colour::kRed, "incomplete"),
                        partition.number("partition"), partition.text("incomplete"));
  }
  Skew skew = skew_of(partitions);
  // Those that are not listed.
  skew.empty += shuffle.number("partitions") -
                std::min<uint64_t>(shuffle.number("partitions"), partitions.size());
  text += "\n" + skew_text(skew, terminal) + "\n";

  std::vector<View> largest = partitions;
  std::ranges::sort(largest, [](View a, View b) {
    return std::pair(b.number("bytes"), a.number("partition")) <
           std::pair(a.number("bytes"), b.number("partition"));
  });
  const std::size_t shown = std::min(most, largest.size());
  Rows rows = {{"PARTITION", "OWNER", "BYTES", "MERGED", "RATIO", "MAPS", "MAPS MERGED"}};
  for (const View partition : std::span(largest).first(shown)) {
    rows.push_back({count_in(partition, "partition"), owner_of(partition),
                    bytes_in(partition, "bytes"), bytes_in(partition, "merged_bytes"),
                    percent(partition.number("merged_bytes"), partition.number("bytes")),
                    count_in(partition, "maps"), count_in(partition, "maps_merged")});
  }
  text += align(rows, "");
  if (shown < largest.size())
    text += fmt::format("and {} smaller ones; --all lists them\n", largest.size() - shown);
  return text;
}

std::string partition_page(const std::string& shuffle, View partition, std::size_t most) {
  const std::vector<View> blocks = partition.list("list");
  std::string text = fmt::format(
      "{}/{}: {} blocks, {}; {} merged ({}); its owner is {}\n", shuffle,
      partition.number("partition"), partition.number("blocks"), bytes_in(partition, "bytes"),
      bytes_in(partition, "merged_bytes"),
      percent(partition.number("merged_bytes"), partition.number("bytes")), owner_of(partition));
  if (!partition.text("incomplete").empty())
    text += fmt::format("  incomplete: {}\n", partition.text("incomplete"));
  for (const std::string& node : partition.texts("unreachable"))
    text += fmt::format("  not reached: {}\n", node);
  Rows rows = {{"MAP", "OFFSET", "BYTES", "MERGED AT", "WRITTEN ON", "CRC32C"}};
  const std::size_t shown = std::min(most, blocks.size());
  for (const View block : std::span(blocks).first(shown)) {
    rows.push_back({count_in(block, "map"), count_in(block, "offset"), bytes_in(block, "bytes"),
                    block.text("merged_at").empty() ? "-" : block.text("merged_at"),
                    block.text("origin").empty() ? "does not answer" : block.text("origin"),
                    block.text("crc32c").empty() ? "-" : block.text("crc32c")});
  }
  text += "\n" + align(rows, "");
  if (shown < blocks.size())
    text += fmt::format("and {} more; --all lists them\n", blocks.size() - shown);
  return text;
}

}  // namespace shufflefs
