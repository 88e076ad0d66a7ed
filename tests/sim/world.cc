#include "sim/world.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/parse.h"

namespace shufflefs::sim {
namespace {

uint64_t announcements_pending(SimNode& node) {
  constexpr std::string_view kGauge = "\nshufflefs_announce_pending ";
  const std::string text = node.metrics().render();
  const std::size_t at = text.find(kGauge);
  if (at == std::string::npos) return 0;
  const std::string_view rest = std::string_view(text).substr(at + kGauge.size());
  return parse_decimal(rest.substr(0, rest.find('\n'))).value_or(1);
}

}  // namespace

World::World(Scenario scenario, bool verbose)
    : scenario_(std::move(scenario)),
      verbose_(verbose),
      random_(scenario_.seed ^ 0x5EEDULL),
      schedule_(random_.next()),
      network_(schedule_, random_.next()),
      cut_random_(random_.next()),
      merged_check_(truth_) {}

World::~World() = default;

void World::note(const std::string& line) {
  const auto ms = std::chrono::duration_cast<std::chrono::microseconds>(schedule_.elapsed());
  for (const char c : line)
    outcome_.history = (outcome_.history ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  outcome_.history ^= static_cast<uint64_t>(ms.count());
  if (verbose_) fmt::print("{:12.6f} {}\n", static_cast<double>(ms.count()) / 1e6, line);
}

void World::violate(const std::string& what) {
  if (outcome_.violation) return;
  note("VIOLATION " + what);
  outcome_.violation = what;
}

// ---- building --------------------------------------------------------------------------------------

void World::build() {
  for (std::size_t i = 0; i < scenario_.shuffles; ++i)
    shuffles_.push_back(*merge::parse_shuffle_key(fmt::format("app{}/{}", i / 2, i)));
  if (scenario_.lossy_network) {
    network_.faults.lose_request = 0.03;
    network_.faults.lose_answer = 0.03;
    network_.faults.duplicate = 0.05;
    network_.faults.damage = 0.02;
    network_.faults.most_delay = std::chrono::milliseconds(200);
  }
  for (std::size_t i = 0; i < scenario_.nodes; ++i) add_node();
  for (const auto& node : nodes_) {
    forget_members(node->index());
    (void)node->start(members_for(node->index()));
  }
}

void World::add_node() {
  const std::size_t index = nodes_.size();
  SimNode::Config config;
  config.index = index;
  config.engine.self = *merge::NodeName::parse(fmt::format("node{}", index + 1));
  for (std::size_t disk = 0; disk < scenario_.disks; ++disk)
    config.engine.data_dirs.push_back(fmt::format("/n{}/d{}", index + 1, disk));
  config.engine.mounts = {"/mnt"};
  config.engine.push.chunk_bytes = 8U << 10U;
  config.engine.push.max_block_bytes = kMaxBlockBytes;
  config.engine.stream.ahead_bytes = 64U << 10U;
  config.engine.split_bytes = scenario_.split_bytes;
  config.engine.trash_grace = std::chrono::seconds(5);
  config.memory = scenario_.memory;
  config.late_events = scenario_.late_events;
  const uint64_t skew_ms = scenario_.clock_jumps > 0 ? 36'000'000
                           : scenario_.skewed_clocks ? 20'000
                                                     : 0;
  clock_skew_.push_back(skew_ms == 0 ? Duration{}
                                     : std::chrono::milliseconds(random_.below(skew_ms)) -
                                           std::chrono::milliseconds(skew_ms / 2));
  SimNode::Hooks hooks;
  hooks.disk.crashed = [this, index] { crashing_.push_back(index); };
  hooks.clock_skew = [this, index] { return clock_skew_[index]; };
  hooks.disk.now_ms = [this, index] {
    return static_cast<uint64_t>(
        (std::chrono::seconds(1767225600) + schedule_.elapsed() + clock_skew_[index]) /
        std::chrono::milliseconds(1));
  };
  hooks.disk.cut = [this, index] {
    Fiber* fiber = Fiber::current();
    if (fiber != nullptr && cut_random_.chance(scenario_.cut_chance))
      fiber->sleep(Duration(std::chrono::microseconds(cut_random_.between(1, 2000))) *
                   disk_slowness_[index]);
  };
  hooks.disk.written = [this, index](const std::string& path, uint64_t offset, uint64_t length) {
    if (index >= nodes_.size()) return;
    if (const auto wrong = merged_check_.after_write(nodes_[index]->disk(), path, offset, length))
      violate(*wrong);
  };
  hooks.probe = [this, index](std::size_t peer) -> std::optional<uint64_t> {
    if (!nodes_[peer]->listening() || network_.is_cut(index, peer)) return std::nullopt;
    return nodes_[peer]->incarnation();
  };
  hooks.disk_delay = [this, index] {
    return Duration(std::chrono::microseconds(random_.between(10, 3000))) * disk_slowness_[index];
  };
  hooks.announced = [this](std::size_t to, const merge::AnnounceRequest& request) {
    for (const merge::AnnouncedMap& map : request.committed) {
      for (WrittenMap* written : truth_.find(map.shuffle, map.map)) {
        if (written->removed_at || nodes_[written->origin]->name() != request.origin) continue;
        auto& told = written->told[{to, nodes_[to]->incarnation()}];
        told.insert(told.begin(), map.ranges.begin(), map.ranges.end());
      }
    }
    for (const merge::EndedMaps& ended : request.ended) {
      for (WrittenMap* written : truth_.of(ended.shuffle)) {
        const bool is_named =
            !ended.ranges.empty() || std::ranges::any_of(ended.maps, [&](const auto& one) {
              return one.map == written->map;
            });
        if (is_named && written->removed_at && nodes_[written->origin]->name() == request.origin)
          written->removal_told.insert(to);
      }
    }
  };
  // The files are gone when the next life begins, and nobody can tell it why.
  hooks.removals_untold = [this, index](const std::set<std::string>& paths) {
    for (auto& [writing, written] : truth_.all()) {
      if (written.origin != index || std::ranges::none_of(written.files, [&](const auto& path) {
            return paths.contains(path);
          }))
        continue;
      written.removed_at.reset();
      written.uncertain = true;
      written.harm = SimDisk::Harm::kLost;
    }
  };
  disk_slowness_.push_back(1);
  is_member_.push_back(true);
  has_left_.push_back(false);
  drained_.push_back(false);
  nodes_.push_back(
      std::make_unique<SimNode>(schedule_, network_, random_.next(), config, std::move(hooks)));
  network_.add(*nodes_.back());
}

std::vector<SimNode::Member> World::members() const {
  std::vector<SimNode::Member> list;
  for (const auto& node : nodes_) {
    if (is_member_[node->index()]) list.push_back({node->name(), node->index()});
  }
  return list;
}

SimNode* World::any_working_node() {
  std::vector<SimNode*> working;
  for (const auto& node : nodes_) {
    if (node->works() && !has_left_[node->index()] && is_member_[node->index()])
      working.push_back(node.get());
  }
  return working.empty() ? nullptr : working[random_.below(working.size())];
}

merge::ShuffleKey World::any_shuffle() { return shuffles_[random_.below(shuffles_.size())]; }

// ---- running ---------------------------------------------------------------------------------------

bool World::step() {
  if (outcome_.violation) return false;
  if (!schedule_.step()) {
    violate("nothing is left to happen, and nothing has ended");
    return false;
  }
  if (Fiber::reactor_was_stuck())
    violate("a reactor waits for a lock that is held over the I/O of a disk that hangs");
  if (schedule_.steps() > kStepBound) violate("the nodes are busy without end");
  while (!crashing_.empty()) {
    SimNode& node = *nodes_[crashing_.back()];
    crashing_.pop_back();
    if (node.lives()) crash(node);
  }
  for (const auto& node : nodes_) node->bury_if_stopped();
  return !outcome_.violation;
}

bool World::disks_hang(SimNode& node) {
  return std::ranges::any_of(node.data_dirs(), [&](const std::string& directory) {
    return node.disk().faults(directory).hangs;
  });
}

bool World::advance(Duration most) {
  const TimePoint end = schedule_.now() + most;
  bool over = false;
  schedule_.after(most, Action([&over] { over = true; }));
  while (!over && step()) {
  }
  return over && schedule_.now() >= end;
}

bool World::advance_until(const std::function<bool()>& condition, Duration most) {
  const TimePoint end = schedule_.now() + most;
  while (schedule_.now() < end) {
    if (condition()) return true;
    if (!advance(std::chrono::milliseconds(500))) return false;
  }
  return condition();
}

void World::heal() {
  note("everything is healed");
  active_ = false;
  unknown_.clear();
  network_.heal();
  for (const auto& node : nodes_) {
    // Also of one that is leaving, which waits for its disks.
    node->disk().heal();
    disk_slowness_[node->index()] = 1;
    if (has_left_[node->index()]) continue;
    node->disk().crash_after(0);
    if (!node->lives()) bring_back(*node);
    if (node->lives()) node->engine().drain(false);
  }
  tell_members();
}

void World::bring_back(SimNode& node) {
  node.disk().thaw(false);
  if (!node.start(members())) violate(node.name().str() + " does not start on sound disks");
  notice(node);
}

void World::notice(const SimNode& started) {
  for (const auto& other : nodes_) {
    if (other->lives() && other->cluster().knows(started.name()))
      other->cluster().look_at(started.name());
  }
}

// What all nodes say of themselves at about the same time.
struct World::Survey {
  std::size_t to_answer = 0;
  uint64_t maps_open = 0;  // neither merged nor given up
  uint64_t given_up = 0;
  std::string open;
};

Task<void> World::ask_node(World& world, SimNode& node, std::shared_ptr<Survey> survey) {
  for (const merge::ShuffleKey& shuffle : world.shuffles_) {
    const auto info = co_await node.engine().local_node()->shuffle_info(shuffle);
    if (!info) {
      ++survey->maps_open;
      continue;
    }
    const uint64_t open =
        info->maps - info->maps_settled - info->maps_given_up - info->maps_unpushed;
    survey->maps_open += open;
    if (open > 0)
      survey->open += fmt::format("{} has {} maps of {}; ", node.name().str(),
                                  static_cast<int64_t>(open), to_string(shuffle));
    for (const merge::GivenUp& given_up : info->given_up) {
      survey->given_up += given_up.chunks;
      if (given_up.reason.empty()) world.violate("a chunk was given up without a reason");
    }
  }
  --survey->to_answer;
}

bool World::is_settled() {
  for (const auto& node : nodes_) {
    // It was stopping when everything was healed, and has stopped since.
    if (!has_left_[node->index()] && !node->lives()) bring_back(*node);
  }
  for (const auto& [writing, written] : truth_.all()) {
    SimNode& origin = *nodes_[written.origin];
    if (!written.is_sound() || !origin.works()) continue;
    if (origin.engine().commits().is_committed(written.shuffle, written.map)) continue;
    open_ = fmt::format("{} has not noticed map {} of {}", origin.name().str(), number(written.map),
                        to_string(written.shuffle));
    return false;
  }
  const auto survey = std::make_shared<Survey>();
  for (const auto& node : nodes_) {
    if (has_left_[node->index()]) continue;
    if (!node->works()) return false;
    // What it cannot read it tries to announce for as long as it lives.
    const bool tries_for_ever = std::ranges::any_of(truth_.all(), [&](const auto& entry) {
      return entry.second.harm && entry.second.origin == node->index();
    });
    if (tries_for_ever) continue;
    if (announcements_pending(*node) > 0) {
      open_ = node->name().str() + " has announcements pending";
      return false;
    }
    ++survey->to_answer;
    node->spawn(ask_node(*this, *node, survey));
  }
  for (int i = 0; i < 100 && survey->to_answer > 0; ++i) {
    if (!advance(std::chrono::milliseconds(50))) return false;
  }
  outcome_.chunks_given_up = survey->given_up;
  open_ = survey->open;
  return survey->to_answer == 0 && survey->maps_open == 0 && reads_open_ == 0;
}

bool World::settle() {
  const TimePoint end = schedule_.now() + kSettleBound;
  while (schedule_.now() < end && !outcome_.violation) {
    if (is_settled()) return true;
    if (!advance(std::chrono::milliseconds(500))) return false;
  }
  violate(
      "within the bound after the faults ended not everything was merged, given up or refused: " +
      open_);
  return false;
}

void World::stop_all() {
  for (const auto& node : nodes_) {
    if (node->works()) node->begin_stop();
  }
  const auto all_stopped = [this] {
    return std::ranges::none_of(nodes_, [](const auto& node) { return node->lives(); });
  };
  if (!advance_until(all_stopped, std::chrono::minutes(2))) violate("a node does not stop");
}

Outcome World::run() {
  note(to_string(scenario_));
  build();
  plan_activities();
  if (advance(scenario_.active)) {
    heal();
    bool fine = advance(kNoticed) && settle();
    if (fine && scenario_.restart_at_end) {
      note("all are restarted");
      stop_all();
      for (const auto& node : nodes_) {
        if (has_left_[node->index()]) continue;
        if (!node->start(members())) violate(node->name().str() + " does not start again");
      }
      fine = advance(kNoticed) && settle();
    }
    // The disk keeper writes what is only in memory of files that are not written to any more.
    if (fine) fine = advance(std::chrono::seconds(5));
    if (fine && check_rest()) stop_all();
  }
  for (const auto& node : nodes_) {
    if (node->lives()) node->crash();
    const SimNode::Counts counts = node->counts();
    outcome_.counts.evictions += counts.evictions;
    outcome_.counts.busy += counts.busy;
    outcome_.counts.duplicates += counts.duplicates;
  }
  outcome_.steps = schedule_.steps();
  outcome_.virtual_time = schedule_.elapsed();
  outcome_.requests = network_.requests();
  return outcome_;
}

}  // namespace shufflefs::sim
