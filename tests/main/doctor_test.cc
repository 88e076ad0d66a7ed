// The doctor's checks on made-up machines: below a directory lie the files of /proc, /sys and Spark
// that a check reads.
#include "main/doctor/doctor.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"

namespace shufflefs::doctor {
namespace {

class MadeUp {
 public:
  MadeUp() {
    subject.host = Host(dir_.path());
    subject.settings.mount = "/shuffle/mnt";
    subject.settings.memory_bytes = 512ULL << 20U;
    subject.settings.spark.memory_bytes = 128ULL << 20U;
    subject.settings.spark.listen = {"0.0.0.0", 7337};
    subject.has_settings = true;
  }
  void write(const std::string& path, std::string_view text) {
    const std::filesystem::path whole = dir_.path() + path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole, std::ios::binary) << text;
  }
  // A process as /proc shows it.
  void process(int pid, const std::vector<std::string>& arguments,
               const std::vector<std::string>& environment) {
    const auto joined = [](const std::vector<std::string>& words) {
      std::string text;
      for (const std::string& word : words) text += word + '\0';
      return text;
    };
    write("/proc/" + std::to_string(pid) + "/cmdline", joined(arguments));
    write("/proc/" + std::to_string(pid) + "/environ", joined(environment));
  }

 private:
  testing::TempDir dir_;

 public:
  Subject subject;
  Report report;
};

// The first finding of a severity whose text has the words.
const Finding* find(const Report& report, Severity severity, const std::string& words) {
  const auto found = std::ranges::find_if(report.findings(), [&](const Finding& finding) {
    return finding.severity == severity &&
           (finding.what + finding.remedy).find(words) != std::string::npos;
  });
  return found == report.findings().end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("doctor: kernels") {
  for (const auto& [release, severity] :
       {std::pair{"6.18.44-fc-v595", Severity::kOk}, std::pair{"6.9.0", Severity::kOk},
        std::pair{"6.1.0-28-amd64", Severity::kWarning}, std::pair{"10.0", Severity::kOk},
        std::pair{"4.19.0", Severity::kProblem}, std::pair{"what", Severity::kProblem}}) {
    MadeUp machine;
    machine.write("/proc/filesystems", "nodev\tfuse\n");
    machine.subject.kernel = release;
    check_kernel(machine.subject, machine.report);
    INFO(release);
    CHECK(machine.report.findings().front().severity == severity);
  }
}

TEST_CASE("doctor: a missing capability is named, and a user namespace of its own") {
  MadeUp machine;
  machine.write("/proc/self/status", "Name:\tx\nCapEff:\t00000000000000cf\n");
  machine.write("/proc/self/uid_map", "         0     100000      65536\n");
  check_capabilities(machine.subject, machine.report);
  CHECK(find(machine.report, Severity::kProblem, "CAP_SYS_ADMIN is missing"));
  CHECK_FALSE(find(machine.report, Severity::kProblem, "CAP_CHOWN"));
  CHECK(find(machine.report, Severity::kProblem, "user namespace"));
}

TEST_CASE("doctor: AppArmor matters only where it confines us") {
  MadeUp off;
  check_apparmor(off.subject, off.report);
  CHECK(off.report.count(Severity::kOk) == 1);
  MadeUp confined;
  confined.write("/sys/module/apparmor/parameters/enabled", "Y\n");
  confined.write("/proc/self/attr/current", "cri-containerd.apparmor.d (enforce)\n");
  check_apparmor(confined.subject, confined.report);
  CHECK(find(confined.report, Severity::kWarning, "cri-containerd"));
}

TEST_CASE("doctor: the tightest limit of the control groups counts, in both versions") {
  for (const bool is_v2 : {true, false}) {
    MadeUp machine;
    machine.write("/proc/self/cgroup",
                  is_v2 ? "0::/kubepods/pod1\n" : "3:memory:/kubepods/pod1\n2:cpu:/x\n");
    const std::string top = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const std::string file = is_v2 ? "/memory.max" : "/memory.limit_in_bytes";
    machine.write(top + "/kubepods/pod1" + file, is_v2 ? "max\n" : "9223372036854771712\n");
    machine.write(top + "/kubepods" + file, "536870912\n");
    machine.write("/proc/meminfo", "MemTotal:       16000000 kB\n");
    check_memory(machine.subject, machine.report);
    const Finding* const finding = find(machine.report, Severity::kProblem, "512 MiB (" + top);
    REQUIRE(finding);
    CHECK(finding->remedy.find("900 MiB") != std::string::npos);

    MadeUp roomy;
    roomy.write("/proc/self/cgroup", "0::/\n");
    roomy.write("/proc/meminfo", "MemTotal:       16000000 kB\n");
    check_memory(roomy.subject, roomy.report);
    CHECK(roomy.report.count(Severity::kOk) == 1);
  }
}

TEST_CASE("doctor: Spark's files are read as Spark and a shell read them") {
  const SparkConf defaults = parse_spark_defaults(
      "# comment\nspark.a  x y \nspark.b=2\nspark.c : 3\n\nspark.d\n!no 1\nspark.e\t=  z\r\n");
  CHECK(defaults ==
        SparkConf{{"spark.a", "x y"}, {"spark.b", "2"}, {"spark.c", "3"}, {"spark.e", "z"}});
  const SparkConf environment = parse_spark_env(
      "#!/bin/sh\nexport A=1\nB=\"two words\"\n  C='-Dx=y'\n# D=4\nif true; then\nE=$A\n");
  CHECK(environment == SparkConf{{"A", "1"}, {"B", "two words"}, {"C", "-Dx=y"}, {"E", "$A"}});
}

TEST_CASE("doctor: settings of Spark that clash are found, and those that fit are not") {
  MadeUp machine;
  machine.subject.spark_conf_dir = "/conf";
  machine.write("/conf/spark-defaults.conf",
                "spark.shuffle.service.enabled true\nspark.shuffle.service.port 7447\n"
                "spark.authenticate true\n");
  machine.write("/conf/spark-env.sh", "SPARK_LOCAL_DIRS=/tmp/a,/shuffle/mnt/local/disk0/s\n");
  check_spark(machine.subject, machine.report);
  CHECK(find(machine.report, Severity::kProblem, "spark.shuffle.service.port is 7447"));
  CHECK(find(machine.report, Severity::kProblem, "the local directory /tmp/a is not on the mount"));
  CHECK_FALSE(find(machine.report, Severity::kProblem, "/shuffle/mnt/local/disk0/s is not"));
  CHECK(find(machine.report, Severity::kProblem, "-Dspark.shuffle.service.enabled=false"));
  CHECK(find(machine.report, Severity::kProblem, "the node has no secret"));

  MadeUp good;
  good.subject.spark_conf_dir = "/conf";
  good.write("/conf/spark-defaults.conf", "spark.shuffle.service.enabled true\n");
  good.write("/conf/spark-env.sh",
             "SPARK_LOCAL_DIRS=/shuffle/mnt/local/disk0\n"
             "SPARK_WORKER_OPTS=\"-Dspark.shuffle.service.enabled=false\"\n");
  check_spark(good.subject, good.report);
  CHECK_FALSE(good.report.has_problem());
  CHECK(find(good.report, Severity::kOk, "/conf fits"));
}

TEST_CASE("doctor: processes of Spark that clash are found") {
  MadeUp machine;
  machine.process(100,
                  {"/usr/bin/java", "-Dspark.shuffle.service.enabled=true",
                   "org.apache.spark.deploy.worker.Worker", "spark://m:7077"},
                  {"SPARK_LOCAL_DIRS=/shuffle/mnt/local/disk0"});
  machine.process(101, {"java", "org.apache.spark.executor.CoarseGrainedExecutorBackend"},
                  {"SPARK_LOCAL_DIRS=/x", "SPARK_EXECUTOR_DIRS=/data/spark"});
  machine.process(102, {"bash"}, {"SPARK_LOCAL_DIRS=/tmp"});
  check_spark(machine.subject, machine.report);
  CHECK(find(machine.report, Severity::kProblem, "pid 100"));
  CHECK(find(machine.report, Severity::kProblem, "/data/spark"));
  CHECK_FALSE(find(machine.report, Severity::kProblem, "/tmp"));
  CHECK(machine.report.count(Severity::kProblem) == 2);
}

TEST_CASE("doctor: who holds a port is found on this very machine") {
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor taken(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const uint16_t port = taken.local_endpoint().port();
  Subject subject;
  subject.settings.peer_listen = {"127.0.0.1", port};
  subject.settings.http_listen = {"127.0.0.1", 0};
  subject.settings.spark.listen = {"192.0.2.1", 7337};  // of nobody: RFC 5737
  Report report;
  check_ports(subject, report);
  CHECK(find(report, Severity::kProblem, "is taken by main_test (pid "));
  CHECK(find(report, Severity::kProblem, "this machine does not have the address"));
  const auto holder = listener_of(subject.host, {"127.0.0.1", port});
  REQUIRE(holder);
  CHECK(holder->pid == ::getpid());
  CHECK_FALSE(listener_of(subject.host, {"127.0.0.2", port}));
}

TEST_CASE("doctor: a look that hangs is given up, and an error keeps its errno") {
  const auto hung = in_child(
      []() -> Result<std::string> {
        ::pause();
        return std::string();
      },
      std::chrono::milliseconds(50));
  REQUIRE_FALSE(hung);
  CHECK(hung.error().code == Code::kTimeout);
  const auto failed = in_child([]() -> Result<std::string> { return errno_error("/x", ENOTCONN); },
                               std::chrono::seconds(30));
  REQUIRE_FALSE(failed);
  CHECK(failed.error().sys_errno == ENOTCONN);
  const auto told = in_child([]() -> Result<std::string> { return std::string(100'000, 'x'); },
                             std::chrono::seconds(30));
  REQUIRE(told);
  CHECK(told->size() == 100'000);
}

TEST_CASE("doctor: the report says what, why and what to do") {
  Report report;
  report.ok("kernel", "fine");
  report.problem("port", "7337 is taken", "nobody can register", "stop it");
  CHECK(report_page(report, Terminal::plain()) ==
        "ok      kernel       fine\n"
        "problem port         7337 is taken\n"
        "                     Why: nobody can register\n"
        "                     To do: stop it\n"
        "\n1 problem, 0 warnings, 1 ok\n");
  CHECK(report.has_problem());
}

}  // namespace shufflefs::doctor
