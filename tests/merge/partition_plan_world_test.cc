// Plans of small random worlds against what was committed in them: nodes commit, replace, remove,
// lose and merge map outputs, names are dropped, candidates miss events, and some nodes do not
// answer, or not for all that they have. A plan is right to the byte, or it says that it is
// incomplete: never short, old or of two commits of one map id.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <random>
#include <set>

#include "merge/catalog.h"
#include "merge/placement.h"

namespace shufflefs::merge {
namespace {

using NodeAnswers = std::vector<std::pair<NodeName, PartitionInfo>>;

const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
constexpr PartitionId kPartition{0};
constexpr uint64_t kMaps = 3;

struct Node {
  NodeName name;
  PartitionInfo says;  // complete and up to date, but for what it has missed
  // Origins of whose events in this life it has not been told all.
  std::set<std::size_t> missed;
};

struct Committed {
  std::size_t origin = 0;
  MapId map{};
  CommitId id;
  uint64_t life = 0;
  uint64_t length = 0;
  bool over = false;
  bool lost = false;
};

class World {
 public:
  explicit World(uint64_t seed) : random_(seed), placement_(make(seed)) {
    for (uint64_t i = 5 + pick(25); i > 0; --i) step();
  }

  // False if what happened cannot be seen by anybody who answers: no plan can know it then.
  bool ask() {
    answers.clear();
    unreachable.clear();
    const uint64_t silent = pick(3);
    for (Node& node : nodes_) {
      if (pick(4) < silent) {
        unreachable.push_back({node.name, "timeout"});
        continue;
      }
      PartitionInfo info = node.says;
      info.known =
          !info.own.empty() || !info.merged.empty() || !info.heard.empty() || !info.ended.empty();
      info.partition_count = info.known ? 1 : 0;
      if (pick(6) == 0) {
        std::erase_if(info.own, [&](const OwnBlock&) { return pick(2) == 0; });
        info.incomplete = "a disk is away";
      }
      answers.emplace_back(node.name, std::move(info));
    }
    std::ranges::shuffle(answers, random_);
    return is_visible();
  }

  // map id -> the commit of it that is to be read, of those with bytes
  std::map<MapId, Committed> truth() const {
    std::map<MapId, Committed> found;
    for (const Committed& one : commits_) {
      if (one.over || one.life != life_) continue;
      const auto [it, is_new] = found.try_emplace(one.map, one);
      if (!is_new && it->second.id < one.id) it->second = one;
    }
    std::erase_if(found, [](const auto& entry) { return entry.second.length == 0; });
    return found;
  }
  [[nodiscard]] bool is_known() const {
    return std::ranges::any_of(nodes_, [&](const Node& node) {
      const PartitionInfo& says = node.says;
      return says.life == life_ && (!says.own.empty() || !says.merged.empty() ||
                                    !says.heard.empty() || !says.ended.empty());
    });
  }
  // Whether the plan's place for a block has the block.
  [[nodiscard]] bool has(const PlannedBlock& block) const {
    const NodeName& name = block.merged ? block.merged->holder : *block.origin;
    const auto node = std::ranges::find(nodes_, name, &Node::name);
    if (block.merged) {
      return std::ranges::any_of(node->says.merged, [&](const MergedBlock& copy) {
        return copy.map == block.map && copy.id == block.id && copy.length == block.length &&
               copy.offset == block.merged->view_offset;
      });
    }
    return block.id.origin == tag_of(name) &&
           std::ranges::count(node->says.own,
                              OwnBlock{block.map, block.id.commit, block.length, false}) == 1;
  }
  [[nodiscard]] bool nothing_is_lost() const {
    return std::ranges::none_of(commits_,
                                [](const Committed& one) { return one.lost && !one.over; });
  }
  [[nodiscard]] bool all_answer_for_themselves() const {
    return answers.size() == nodes_.size() &&
           std::ranges::all_of(answers, [](const auto& a) { return a.second.incomplete.empty(); });
  }

  std::vector<NodeName> members;
  NodeAnswers answers;
  std::vector<UnreachableNode> unreachable;

 private:
  uint64_t pick(uint64_t below) { return random_() % below; }

  Placement make(uint64_t seed) {
    for (uint64_t i = 0; i < 1 + seed % 4; ++i) {
      members.push_back(*NodeName::parse(fmt::format("node{}", i + 1)));
      nodes_.push_back({members.back(), {}, {}});
    }
    return {kShuffle, members, 1};
  }

  void step() {
    const std::size_t node = pick(nodes_.size());
    switch (pick(12)) {
      case 0:
        if (pick(3) == 0) drop(node);
        break;
      case 1:
      case 2: remove(node); break;
      case 3:
        if (pick(2) == 0) lose(node);
        break;
      case 4:
      case 5:
      case 6: merge_at(node); break;
      default: commit(node); break;
    }
  }

  void raise(std::size_t node, uint64_t life) {
    Node& at = nodes_[node];
    if (at.says.life >= life) return;
    at.says = {};
    at.says.life = life;
    at.missed.clear();
    for (std::size_t origin = 0; origin < nodes_.size(); ++origin) {
      if (spoken_.contains({origin, life})) at.missed.insert(origin);
    }
    for (Committed& one : commits_) {
      if (one.origin == node && one.life < life) one.over = true;
    }
  }

  void drop(std::size_t node) {
    life_ = ++clock_;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (i == node || pick(3) > 0) raise(i, life_);
    }
  }

  // Tells the partition's candidates, and some others without saying what is in the partition.
  template <class Event>
  void tell(std::size_t origin, Event event) {
    const uint64_t life = nodes_[origin].says.life;
    spoken_.insert({origin, life});
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      const bool candidate = placement_.is_candidate(node.name, kPartition);
      if (i == origin || node.says.life > life || (!candidate && pick(2) == 0)) continue;
      if (pick(8) == 0) {
        node.missed.insert(origin);
        continue;
      }
      const bool is_news = node.says.life < life;
      raise(i, life);
      // What it has missed of this life was sent before, and is sent again before this.
      if (is_news) {
        node.missed.erase(origin);
        for (const Committed& one : commits_) {
          if (one.origin == origin && one.life == life && !one.over && one.id.commit < clock_)
            hear(node, one, candidate);
        }
      }
      event(node, candidate);
    }
  }
  void hear(Node& node, const Committed& one, bool candidate) {
    HeardBlock heard{one.map, nodes_[one.origin].name, one.id.commit, std::nullopt};
    if (candidate) heard.non_empty = one.length > 0;
    node.says.heard.push_back(std::move(heard));
  }

  static void note_end(Node& node, const Committed& one) {
    auto& ended = node.says.ended;
    auto at = std::ranges::find(ended, one.id.origin, &EndedAt::origin);
    if (at == ended.end()) at = ended.insert(at, {one.id.origin, {}, {}});
    at->maps.push_back({one.map, one.id.commit});
    std::erase_if(node.says.heard, [&](const HeardBlock& heard) {
      return tag_of(heard.origin) == one.id.origin && heard.map == one.map &&
             heard.commit == one.id.commit;
    });
    // Merged copies go a moment later, or not yet.
  }

  void end(Committed& one) {
    one.over = true;
    Node& origin = nodes_[one.origin];
    std::erase_if(origin.says.own, [&](const OwnBlock& own) {
      return own.map == one.map && own.commit == one.id.commit;
    });
    note_end(origin, one);
    tell(one.origin, [&](Node& node, bool) { note_end(node, one); });
  }

  Committed* any_of(std::size_t node) {
    std::vector<Committed*> own;
    for (Committed& one : commits_) {
      if (one.origin == node && !one.over && one.life == nodes_[node].says.life)
        own.push_back(&one);
    }
    return own.empty() ? nullptr : own[pick(own.size())];
  }

  void commit(std::size_t node) {
    const MapId map{pick(kMaps)};
    for (Committed& one : commits_) {
      if (one.origin != node || one.map != map || one.over) continue;
      // The later commit is told; that the former is over follows from it, or is told as well.
      if (pick(2) == 0) {
        end(one);
      } else {
        one.over = true;
        std::erase_if(nodes_[node].says.own, [&](const OwnBlock& own) { return own.map == map; });
      }
    }
    Node& origin = nodes_[node];
    const Committed made{.origin = node,
                         .map = map,
                         .id = {++clock_, tag_of(origin.name)},
                         .life = origin.says.life,
                         .length = pick(3) == 0 ? 0 : 1 + pick(100)};
    origin.says.own.push_back({map, made.id.commit, made.length, false});
    commits_.push_back(made);
    tell(node, [&](Node& told, bool candidate) { hear(told, made, candidate); });
  }

  void remove(std::size_t node) {
    if (Committed* const one = any_of(node)) end(*one);
  }

  void lose(std::size_t node) {
    Committed* const one = any_of(node);
    if (!one) return;
    one->lost = true;
    const bool forgotten = pick(2) == 0;
    auto& own = nodes_[node].says.own;
    std::erase_if(own, [&](OwnBlock& block) {
      if (block.commit != one->id.commit) return false;
      block.lost = true;
      block.length = 0;
      return forgotten;
    });
    // The last news of it may be with the node alone: others were told, or it is not known at all.
    if (forgotten)
      tell(node, [&](Node& told, bool candidate) {
        if (std::ranges::none_of(told.says.heard,
                                 [&](const HeardBlock& h) { return h.commit == one->id.commit; }))
          hear(told, *one, candidate);
      });
  }

  // A push of any commit that the node has not been told the end of.
  void merge_at(std::size_t node) {
    if (commits_.empty()) return;
    const Committed& one = commits_[pick(commits_.size())];
    Node& holder = nodes_[node];
    if (one.length == 0 || one.life != holder.says.life) return;
    for (const EndedAt& at : holder.says.ended) {
      if (at.origin == one.id.origin &&
          std::ranges::count(at.maps, EndedMaps::Ended{one.map, one.id.commit}) > 0)
        return;
    }
    uint64_t offset = 0;
    for (const MergedBlock& copy : holder.says.merged) {
      if (copy.map == one.map && copy.id == one.id) return;
      offset = copy.offset + copy.length;
    }
    holder.says.merged.push_back({one.map, one.id, offset, one.length, 1});
  }

  [[nodiscard]] const PartitionInfo* answer_of(const NodeName& name) const {
    const auto it = std::ranges::find(answers, name, &NodeAnswers::value_type::first);
    return it != answers.end() ? &it->second : nullptr;
  }
  // Somebody who answers knows the life, and of whoever does not answer for itself some candidate
  // that answers has been told all.
  [[nodiscard]] bool is_visible() const {
    if (std::ranges::none_of(answers, [&](const auto& a) { return a.second.life == life_; }))
      return false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const PartitionInfo* const own = answer_of(nodes_[i].name);
      const bool speaks = own && own->incomplete.empty();
      bool asked = false;
      bool told = false;
      for (std::size_t j = 0; j < nodes_.size(); ++j) {
        const PartitionInfo* const other = j == i ? nullptr : answer_of(nodes_[j].name);
        if (!other || other->life != life_ || !placement_.is_candidate(nodes_[j].name, kPartition))
          continue;
        asked = true;
        told = told || !nodes_[j].missed.contains(i);
      }
      // What a node has forgotten only others can tell.
      const bool forgot = std::ranges::any_of(commits_, [&](const Committed& one) {
        return one.origin == i && one.lost && !one.over && one.life == life_;
      });
      if (forgot && !told) return false;
      if (!speaks && asked && !told) return false;
    }
    return true;
  }

  std::mt19937_64 random_;
  std::vector<Node> nodes_;
  Placement placement_;
  std::vector<Committed> commits_;
  std::set<std::pair<std::size_t, uint64_t>> spoken_;  // origin, life: it has told of an event
  uint64_t life_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace

TEST_CASE("a plan is right or incomplete, whatever happened and whoever answers") {
  uint64_t looked_at = 0;
  uint64_t right = 0;
  uint64_t with_blocks = 0;
  uint64_t incomplete = 0;
  for (uint64_t seed = 0; seed < 40'000; ++seed) {
    World world(seed);
    if (!world.ask()) continue;
    ++looked_at;
    CAPTURE(seed);
    const PartitionPlan plan =
        make_plan(kShuffle, kPartition, world.members, world.answers, world.unreachable);
    const auto truth = world.truth();
    if (plan.incomplete) {
      ++incomplete;
      CHECK_FALSE((world.all_answer_for_themselves() && world.nothing_is_lost()));
      CHECK_FALSE(plan.whole_at);
      continue;
    }
    ++right;
    with_blocks += plan.blocks.empty() ? 0 : 1;
    REQUIRE(plan.known == world.is_known());
    REQUIRE(plan.blocks.size() == truth.size());
    uint64_t offset = 0;
    std::set<MapId> seen;
    for (const PlannedBlock& block : plan.blocks) {
      REQUIRE(seen.insert(block.map).second);
      const auto wanted = truth.find(block.map);
      REQUIRE(wanted != truth.end());
      REQUIRE(block.id == wanted->second.id);
      REQUIRE(block.length == wanted->second.length);
      REQUIRE(block.offset == offset);
      REQUIRE(world.has(block));
      offset += block.length;
    }
    REQUIRE(plan.bytes == offset);
  }
  // The worlds are no empty ones.
  CHECK(looked_at > 20'000);
  CHECK(right > looked_at / 4);
  CHECK(with_blocks > looked_at / 8);
  CHECK(incomplete > looked_at / 20);
}

}  // namespace shufflefs::merge
