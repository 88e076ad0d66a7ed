#include "merge/shuffle_lives.h"

#include <algorithm>
#include <set>

#include "base/log.h"

namespace shufflefs::merge {

std::vector<ShuffleKey> ShuffleLives::known() const {
  std::set<ShuffleKey> keys;
  for (auto&& list : {table_.shuffles(), store_.shuffles()}) keys.insert(list.begin(), list.end());
  return {keys.begin(), keys.end()};
}

void ShuffleLives::forget_owner(const AppId& app) const {
  const bool is_known =
      std::ranges::any_of(known(), [&](const auto& key) { return key.app == app; });
  if (!is_known) owners_.forget(app);
}

// ---- map outputs ---------------------------------------------------------------------------------------------------

Task<Status> ShuffleLives::announced(AnnounceRequest request) {
  if (request.origin == self_)
    co_return make_error(Code::kRefused, "another node speaks of map outputs of this one");
  for (DroppedName& dropped : request.dropped) CO_TRY(co_await carry_out(std::move(dropped)));
  std::set<ShuffleKey> over;
  for (const AnnouncedMap& announced : request.committed) {
    CO_TRY(co_await catch_up(announced.shuffle, announced.life));
    if (!table_.announced(request.origin, announced)) continue;
    owners_.heard(announced.shuffle.app, announced.owner);
  }
  const NodeTag origin = tag_of(request.origin);
  for (const EndedMaps& ended : request.ended) {
    CO_TRY(co_await catch_up(ended.shuffle, ended.life));
    if (!table_.ended(request.origin, ended)) continue;
    for (const EndedMaps::Ended& one : ended.maps)
      store_.forget(ended.shuffle, {one.map, {one.commit, origin}});
    for (const CommitRange& range : ended.ranges) store_.forget_range(ended.shuffle, origin, range);
    over.insert(ended.shuffle);
  }
  if (request.whole) table_.told_whole_by(request.origin);
  // Whoever announces counts on it that it is not forgotten.
  CO_TRY(co_await offload(runtime_, [this] { return table_.flush(); }));
  for (const ShuffleKey& shuffle : over) co_await end_if_over(shuffle);
  co_return ok();
}

Task<void> ShuffleLives::ended(MapOutputRef output) {
  store_.forget(output->shuffle, {output->map, {output->commit, tag_of(self_)}});
  co_await end_if_over(output->shuffle);
}

// When nobody has a map output of the shuffle any more, nobody reads its merged partitions.
Task<void> ShuffleLives::end_if_over(ShuffleKey shuffle) {
  if (!table_.is_over(shuffle)) co_return;
  const bool ended = co_await offload(
      runtime_, [&] { return store_.end_if(shuffle, [&] { return table_.is_over(shuffle); }); });
  if (ended)
    log_info("shuffle.ended",
             {{"shuffle", to_string(shuffle)}, {"reason", "its last map output was removed"}});
  forget_owner(shuffle.app);
}

// ---- drops ---------------------------------------------------------------------------------------------------------

Task<Status> ShuffleLives::catch_up(ShuffleKey shuffle, uint64_t life) {
  if (life > table_.life_of(shuffle))
    CO_TRY(co_await carry_out({shuffle.app, shuffle.shuffle, life}));
  co_return ok();
}

// The table first: from then on nothing of an earlier life is taken, told or read, and what comes
// in meanwhile is of the new one. The files follow, and may take their time.
Task<Result<DropReply>> ShuffleLives::carry_out(DroppedName name) {
  DropReply reply;
  std::vector<ShuffleKey> keys;
  if (name.shuffle)
    keys.push_back({name.app, *name.shuffle});
  else
    std::ranges::copy_if(known(), std::back_inserter(keys),
                         [&](const ShuffleKey& key) { return key.app == name.app; });
  for (const ShuffleKey& key : keys)
    reply.life_before = std::max(reply.life_before, table_.life_of(key));
  std::erase_if(keys, [&](const ShuffleKey& key) { return table_.life_of(key) >= name.life; });
  table_.dropped(name);
  if (announcer_ != nullptr) announcer_->wake();
  for (const ShuffleKey& key : keys) lengths_.forget(key);
  CO_TRY(co_await offload(runtime_, [&]() -> Status {
    // A restart must not forget it.
    TRY(table_.flush());
    for (const ShuffleKey& key : keys) {
      store_.drop(key, name.life);
      TRY(committer_.discard_dropped(key));
    }
    return ok();
  }));
  co_return reply;
}

Task<Result<DropReply>> ShuffleLives::drop(AppId app, std::optional<ShuffleId> shuffle,
                                           uint64_t life) {
  CO_TRY_ASSIGN(const DropReply reply, co_await carry_out({app, shuffle, life}));
  forget_owner(app);
  log_info("shuffle.dropped", {{"app", app.str()},
                               {"shuffle", shuffle ? std::to_string(number(*shuffle)) : "all"},
                               {"life", life}});
  co_return reply;
}

}  // namespace shufflefs::merge
