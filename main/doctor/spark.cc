// Settings and processes of Spark that clash with a node; the contract is in main/doctor/doctor.h.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "main/doctor/doctor.h"

namespace shufflefs::doctor {
namespace {

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n\f";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::string unquoted(const std::string& text) {
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
                      text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

SparkConf parse_spark_defaults(const std::string& text) {
  SparkConf conf;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#' || line.front() == '!') continue;
    const std::size_t key_end = line.find_first_of(" \t=:");
    if (key_end == std::string::npos) continue;
    // Blanks, then at most one = or :, then blanks.
    std::size_t value = line.find_first_not_of(" \t", key_end);
    if (value != std::string::npos && (line[value] == '=' || line[value] == ':')) ++value;
    conf[line.substr(0, key_end)] = value == std::string::npos ? "" : trimmed(line.substr(value));
  }
  return conf;
}

SparkConf parse_spark_env(const std::string& text) {
  SparkConf conf;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line);
    if (line.starts_with("export ")) line = trimmed(line.substr(7));
    const std::size_t equals = line.find('=');
    if (line.empty() || line.front() == '#' || equals == std::string::npos) continue;
    conf[line.substr(0, equals)] = unquoted(trimmed(line.substr(equals + 1)));
  }
  return conf;
}

namespace {

constexpr const char* kServiceOff = "-Dspark.shuffle.service.enabled=false";

// Where nodes are mounted on this machine: a development cluster has several.
std::vector<std::string> mounts_of_ours(const Host& host) {
  std::vector<std::string> points;
  std::istringstream lines(host.read("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    const auto fields = split(line, ' ');
    if (fields.size() > 4 && line.find(" - fuse.shufflefs ") != std::string::npos)
      points.emplace_back(fields[4]);
  }
  return points;
}

std::string get(const SparkConf& conf, std::string_view key) {
  const auto found = conf.find(key);
  return found == conf.end() ? std::string() : found->second;
}

class SparkChecker {
 public:
  SparkChecker(const Subject& subject, Report& report)
      : subject_(subject),
        settings_(subject.settings),
        report_(report),
        mounts_(mounts_of_ours(subject.host)) {
    mounts_.push_back(settings_.mount);
  }

  void configuration(const std::string& directory) {
    const SparkConf defaults =
        parse_spark_defaults(subject_.host.read(directory + "/spark-defaults.conf"));
    const SparkConf environment = parse_spark_env(subject_.host.read(directory + "/spark-env.sh"));
    const std::size_t before = complaints();
    service(directory, defaults, environment);
    authentication(directory, defaults);
    std::string dirs = get(environment, "SPARK_LOCAL_DIRS");
    const bool from_environment = !dirs.empty();
    if (!from_environment) dirs = get(defaults, "spark.local.dir");
    const std::string where =
        fmt::format("{}/{}", directory, from_environment ? "spark-env.sh" : "spark-defaults.conf");
    if (!dirs.empty())
      local_dirs(where, dirs);
    else if (subject_.has_settings)
      report_.warning("spark",
                      fmt::format("{}: no SPARK_LOCAL_DIRS and no spark.local.dir", directory),
                      "executors write to /tmp, not to the mount, and nothing is merged",
                      fmt::format("SPARK_LOCAL_DIRS={}/local/disk0 in spark-env.sh, a directory "
                                  "for each disk",
                                  settings_.mount));
    if (complaints() == before) report_.ok("spark", directory + " fits");
  }

  void running() {
    for (const Process& process : processes(subject_.host)) {
      const bool is_worker = process.has_argument("org.apache.spark.deploy.worker.Worker");
      const bool is_executor = process.has_argument("ExecutorBackend");
      if (!is_worker && !is_executor) continue;
      const std::size_t before = complaints();
      const auto dirs = process.variable(is_executor && process.variable("SPARK_EXECUTOR_DIRS")
                                             ? "SPARK_EXECUTOR_DIRS"
                                             : "SPARK_LOCAL_DIRS");
      if (dirs) local_dirs(process.label(), *dirs);
      if (is_worker && process.has_argument("-Dspark.shuffle.service.enabled=true"))
        worker_with_service(process.label());
      if (complaints() == before) report_.ok("spark", process.label() + " fits");
    }
  }

 private:
  std::size_t complaints() const {
    return report_.count(Severity::kProblem) + report_.count(Severity::kWarning);
  }

  void worker_with_service(const std::string& who) {
    report_.problem("spark", fmt::format("{} runs a shuffle service of its own", who),
                    fmt::format("both want port {}: whoever comes second does not start, and "
                                "executors register with the wrong one",
                                settings_.spark.listen.port),
                    fmt::format("SPARK_WORKER_OPTS={} for the workers", kServiceOff));
  }

  void service(const std::string& directory, const SparkConf& defaults,
               const SparkConf& environment) {
    const bool enabled = get(defaults, "spark.shuffle.service.enabled") == "true";
    if (!enabled) {
      report_.warning("spark",
                      fmt::format("{}: spark.shuffle.service.enabled is not true", directory),
                      "executors serve their own blocks: when one ends, its map tasks run again",
                      "spark.shuffle.service.enabled true in spark-defaults.conf, or with --conf");
      return;
    }
    const std::string port = get(defaults, "spark.shuffle.service.port");
    if (!port.empty() && port != std::to_string(settings_.spark.listen.port)) {
      report_.problem("spark",
                      fmt::format("{}: spark.shuffle.service.port is {}, the node listens on {}",
                                  directory, port, settings_.spark.listen.port),
                      "executors cannot register and end themselves after 15 s",
                      "give both the same port");
    }
    // A Worker reads spark-defaults.conf too.
    if (get(environment, "SPARK_WORKER_OPTS").find(kServiceOff) == std::string::npos)
      worker_with_service(fmt::format("a standalone Worker that is started with {}", directory));
  }

  void authentication(const std::string& directory, const SparkConf& defaults) {
    const bool wanted = get(defaults, "spark.authenticate") == "true";
    const bool has_secret = !settings_.spark.secret_file.empty();
    if (wanted == has_secret || !subject_.has_settings) return;
    if (wanted) {
      report_.problem(
          "spark", fmt::format("{}: spark.authenticate is true, the node has no secret", directory),
          "registering fails", "give the node --spark-secret-file");
    } else {
      report_.problem(
          "spark",
          fmt::format("{}: the node has a secret, spark.authenticate is not true", directory),
          "the node refuses every executor",
          "spark.authenticate true, and the same spark.authenticate.secret");
    }
  }

  // Each of a list with commas, as Spark writes it.
  void local_dirs(const std::string& where, const std::string& dirs) {
    if (!subject_.has_settings) return;
    const std::string ours = settings_.mount + "/local/";
    for (const std::string_view word : split(dirs, ',')) {
      const std::string directory = std::filesystem::path(word).lexically_normal().string();
      const auto holds = [&](const std::string& place) { return directory.starts_with(place); };
      const bool is_ours = std::ranges::any_of(
          mounts_, [&](const std::string& mount) { return holds(mount + "/local/"); });
      if (directory.empty() || is_ours || std::ranges::any_of(settings_.spark.allow_dirs, holds))
        continue;
      report_.problem(
          "spark", fmt::format("{}: the local directory {} is not on the mount", where, directory),
          "the shuffle service refuses executors that write there, and nothing is merged",
          fmt::format("use {}disk0 and so on, a directory for each disk", ours));
    }
  }

  const Subject& subject_;
  const Settings& settings_;
  Report& report_;
  std::vector<std::string> mounts_;
};

}  // namespace

void check_spark(const Subject& subject, Report& report) {
  if (subject.settings.spark.listen.host.empty()) {
    report.note("spark", "the shuffle service is switched off (spark-listen is empty)",
                "Spark then needs one of its own");
    return;
  }
  SparkChecker checker(subject, report);
  if (subject.spark_conf_dir.empty())
    report.note("spark", "no configuration of Spark was found",
                "SPARK_CONF_DIR, SPARK_HOME or --spark-conf DIR says where it is");
  else
    checker.configuration(subject.spark_conf_dir);
  checker.running();
}

}  // namespace shufflefs::doctor
