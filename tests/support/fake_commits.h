// A CommitSink that remembers what it was told.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "merge/commits.h"

namespace shufflefs::testing {

class FakeCommits final : public merge::CommitSink {
 public:
  using CommitSink::spark_file_appeared;
  void spark_file_appeared(std::string path, uint64_t /*drops*/) override {
    note("appeared", path);
  }
  [[nodiscard]] uint64_t drops_heard() const override { return 0; }
  void spark_file_removed(std::string path) override { note("removed", path); }
  void spark_files_removed() override { note("removed", "some"); }
  void spark_events_lost(uint64_t /*drops*/) override { note("lost", "events"); }
  void application_named(std::string directory) override { note("named", directory); }
  void directory_left(std::string directory) override { note("left", directory); }
  Result<std::string> generic_directory(const merge::ShuffleKey& /*shuffle*/,
                                        bool /*create*/) override {
    return make_error(Code::kNotFound, "not here");
  }
  Status check_generic(const merge::ShuffleKey& /*shuffle*/, const std::string& /*path*/,
                       std::string_view /*name*/) override {
    return ok();
  }
  void generic_appeared(const merge::ShuffleKey& /*shuffle*/, std::string /*name*/) override {}
  void generic_removed(const merge::ShuffleKey& /*shuffle*/, std::string /*name*/) override {}
  [[nodiscard]] bool is_committed(const merge::ShuffleKey& /*shuffle*/,
                                  merge::MapId /*map*/) const override {
    return false;
  }

  [[nodiscard]] std::vector<std::string> heard() const {
    const std::lock_guard lock(mu_);
    return heard_;
  }

 private:
  void note(const std::string& what, const std::string& path) {
    const std::lock_guard lock(mu_);
    heard_.push_back(what + " " + path);
  }
  mutable std::mutex mu_;
  std::vector<std::string> heard_;
};

}  // namespace shufflefs::testing
