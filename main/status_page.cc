#include "main/status_page.h"

#include <fmt/format.h>

#include "base/parse.h"

namespace shufflefs {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string duration_text(double seconds) {
  const auto whole = static_cast<uint64_t>(seconds);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", whole / 60);
  return fmt::format("{} h", whole / 3600);
}

std::string peers_text(const StatusView& status, const Terminal& terminal) {
  Rows rows;
  for (const PeerView& peer : status.peers) {
    const std::string state =
        peer.up ? terminal.paint(Colour::kGreen, "up") : terminal.paint(Colour::kRed, "down");
    std::string note = peer.up ? fmt::format("{:.1f} ms", peer.round_trip_ms) : peer.reason;
    if (peer.self) note = "this node";
    rows.push_back({peer.name, peer.address, state, note});
  }
  std::string text =
      terminal.paint(Colour::kBold, "Peers") + "\n" + (rows.empty() ? "  none\n" : align(rows));
  for (const DifferenceView& difference : status.differences)
    text += fmt::format("  {} {}\n", terminal.paint(Colour::kRed, "lists differ:"),
                        to_string(difference));
  return text;
}

std::string disks_text(const StatusView& status, const Terminal& terminal) {
  Rows rows;
  for (const DiskView& disk : status.disks) {
    rows.push_back({disk.name, disk.path,
                    fmt::format("{} free of {}", format_bytes(disk.free_bytes),
                                format_bytes(disk.total_bytes))});
  }
  return terminal.paint(Colour::kBold, "Disks") + "\n" + (rows.empty() ? "  none\n" : align(rows));
}

std::string spark_text(const StatusView& status, const Terminal& terminal) {
  const SparkView& spark = status.spark;
  const std::string text =
      spark.listen.empty()
          ? std::string("off")
          : fmt::format("{}{}: {} executors of {} applications, {} connections, {} requests open",
                        spark.listen, spark.authentication ? " (with authentication)" : "",
                        spark.executors, spark.applications, spark.connections, spark.streams);
  return fmt::format("{}\n  {}\n", terminal.paint(Colour::kBold, "Spark's shuffle service"), text);
}

std::string shuffles_text(const StatusView& status, const Terminal& terminal) {
  std::string text = terminal.paint(Colour::kBold, "Shuffles") + "\n";
  if (status.shuffles.empty()) return text + "  none yet\n";
  Rows rows = {
      {"SHUFFLE", "MAPS", "MAPS MERGED", "PARTITIONS", "MAP BYTES", "MERGED", "LEFT AT ORIGIN"}};
  for (const ShuffleView& shuffle : status.shuffles) {
    const std::string left = shuffle.blocks_left_home == 0
                                 ? "-"
                                 : fmt::format("{} blocks, {}", shuffle.blocks_left_home,
                                               format_bytes(shuffle.bytes_left_home));
    rows.push_back({fmt::format("{}/{}", shuffle.app, shuffle.shuffle),
                    fmt::format("{}", shuffle.maps),
                    shuffle.maps == 0 ? "-" : terminal.bar(shuffle.maps_settled, shuffle.maps),
                    fmt::format("{}", shuffle.partitions), format_bytes(shuffle.bytes),
                    fmt::format("{} in {} partitions", format_bytes(shuffle.merged_bytes),
                                shuffle.merged_partitions),
                    left});
  }
  text += align(rows);
  for (const ShuffleView& shuffle : status.shuffles) text += shuffle_remarks(shuffle, terminal);
  return text;
}

}  // namespace

std::string shuffle_remarks(const ShuffleView& shuffle, const Terminal& terminal) {
  const std::string name = fmt::format("{}/{}", shuffle.app, shuffle.shuffle);
  std::string text;
  for (const GivenUpView& given_up : shuffle.given_up) {
    text += fmt::format("  {} {}: {}{} blocks ({}) will not be merged: {}\n",
                        terminal.paint(Colour::kYellow, "gave up"), name,
                        given_up.node.empty() ? "" : given_up.node + ": ", given_up.blocks,
                        format_bytes(given_up.bytes), given_up.reason);
  }
  if (shuffle.maps_unpushed > 0) {
    text += fmt::format("  {} {}: {} map outputs, because pushing is switched off (push.enabled)\n",
                        terminal.paint(Colour::kYellow, "not pushed"), name, shuffle.maps_unpushed);
  }
  if (shuffle.maps_lost > 0) {
    text += fmt::format("  {} {}: {} map outputs; only merged copies can be read\n",
                        terminal.paint(Colour::kRed, "lost at origin"), name, shuffle.maps_lost);
  }
  for (const std::string& refused : shuffle.refused_commits) {
    text += fmt::format("  {} {}: {}\n", terminal.paint(Colour::kRed, "refused"), name, refused);
  }
  for (const UnreachableView& node : shuffle.unreachable) {
    text += fmt::format("  {} {}: {}; its share is not counted\n",
                        terminal.paint(Colour::kYellow, "unreachable"), name, to_string(node));
  }
  return text;
}

std::string status_page(const StatusView& status, const Terminal& terminal) {
  return fmt::format(
      "{} (shufflefs {}), up for {}, mounted at {}\nMemory: {} of {} in use\n\n{}\n{}\n{}\n{}",
      terminal.paint(Colour::kBold, status.node), status.version, duration_text(status.uptime_s),
      status.mount, format_bytes(status.memory_used_bytes),
      format_bytes(status.memory_budget_bytes), peers_text(status, terminal),
      disks_text(status, terminal), spark_text(status, terminal), shuffles_text(status, terminal));
}

}  // namespace shufflefs
