#include "main/config.h"

#include <sys/mount.h>

#include <catch2/catch_test_macros.hpp>

#include "main/config_keys.h"
#include "main/temporary_directory.h"

namespace shufflefs {
namespace {

// A configuration without mistakes, to be spoiled by each test.
struct Config {
  TemporaryDirectory directory;
  RawConfig flags;
  std::optional<std::string> file;
  Machine machine{};

  Config() {
    set("node", "node1");
    set("mount", directory.make("mnt"));
    set("data", directory.path("data"));
  }
  void set(const std::string& key, const std::string& value) {
    flags[key] = {{value}, "command line"};
  }
  void write_file(const std::string& text) { file = directory.write("shufflefs.toml", text); }
  [[nodiscard]] LoadedConfig load() const { return load_config(flags, file, machine); }
  // What is wrong with a key; empty if nothing is.
  [[nodiscard]] std::string reason(const std::string& key) const {
    std::string reasons;
    for (const Mistake& mistake : load().mistakes) {
      CHECK_FALSE(mistake.remedy.empty());
      if (mistake.key == key) reasons += mistake.reason + "|" + mistake.remedy + "\n";
    }
    return reasons;
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr uint64_t kMiB = 1ULL << 20U;

}  // namespace

TEST_CASE("config: defaults") {
  const Config config;
  const LoadedConfig loaded = config.load();
  INFO(describe(loaded.mistakes));
  REQUIRE(loaded.mistakes.empty());
  const Settings& settings = loaded.settings;
  CHECK(settings.node.str() == "node1");
  CHECK(settings.data == std::vector<std::string>{config.directory.path("data")});
  CHECK(settings.peer_listen == HostPort{"127.0.0.1", 7338});
  CHECK(settings.http_listen == HostPort{"127.0.0.1", 7340});
  CHECK(settings.members.empty());
  CHECK(settings.memory_bytes == 512 * kMiB);
  CHECK(settings.log_level == LogLevel::kInfo);
  CHECK(settings.push.enabled);
  CHECK(settings.push.chunk_bytes == 2 * kMiB);
  CHECK(settings.push.max_block_bytes == 64 * kMiB);
  CHECK(settings.push.max_retries == 6);
  CHECK(settings.push.jitter == std::chrono::milliseconds(20));
  CHECK(settings.read.peer_timeout == std::chrono::seconds(2));
  CHECK(settings.read.lost_patience == std::chrono::seconds(5));
  CHECK(settings.read.ahead_bytes == 4 * kMiB);
  CHECK(settings.disk_threads == 4);
  CHECK(settings.fuse_threads == 16);
  CHECK(settings.local_mode == LocalMode::kAuto);
  CHECK(settings.trash_grace == std::chrono::seconds(60));
  // Looking changes nothing: the data directory is made later.
  CHECK_FALSE(std::filesystem::exists(config.directory.path("data")));
}

TEST_CASE("config: the largest block that is pushed follows from the memory") {
  Config config;
  config.set("memory", "64M");
  CHECK(config.load().mistakes.empty());
  CHECK(config.load().settings.push.max_block_bytes == 8 * kMiB);
}

TEST_CASE("config: the command line wins over the file, the file over the defaults") {
  Config config;
  config.write_file(
      "memory = 268435456\nlog-level = 'debug'\ndata = ['/nonexistent/a', '/nonexistent/b']\n"
      "fuse-threads = 3\n[push]\nenabled = false\njitter = '1s'\n[read]\npeer-timeout = 5\n");
  config.set("log-level", "error");
  config.set("push.jitter", "5ms");
  const LoadedConfig loaded = config.load();
  INFO(describe(loaded.mistakes));
  REQUIRE(loaded.mistakes.empty());
  CHECK(loaded.settings.memory_bytes == 256 * kMiB);
  CHECK(loaded.settings.log_level == LogLevel::kError);
  CHECK(loaded.settings.fuse_threads == 3);
  CHECK_FALSE(loaded.settings.push.enabled);
  CHECK(loaded.settings.push.jitter == std::chrono::milliseconds(5));
  CHECK(loaded.settings.read.peer_timeout == std::chrono::seconds(5));
  CHECK(loaded.settings.data.size() == 1);
}

TEST_CASE("config: rings and a mount that outlives its worker exclude each other") {
  Config config;
  config.set("fuse-io-uring", "true");
  CHECK(has(config.reason("fuse-io-uring"), "keep-mount"));
  config.set("keep-mount", "false");
  CHECK(config.load().mistakes.empty());
}

TEST_CASE("config: every mistake is reported at once") {
  Config config;
  config.write_file(
      "membrs = 'x'\nnode = 7\nfuse-threads = 'many'\n[push]\nchunk-byte = '1M'\nenabled = "
      "'yes'\n");
  config.flags.erase("mount");
  config.set("node", "../x");
  config.set("memory", "12Q");
  config.set("log-level", "loud");
  config.set("peer-listen", "nowhere");
  config.set("http-listen", "some.name:7340");
  config.set("push.jitter", "soon");
  config.set("push.max-retries", "1000");
  config.set("disk-threads", "");
  config.set("memmory", "1G");
  config.flags["trash.grace"] = {{"1s", "2s"}, "command line"};
  config.machine = {.is_root = false, .has_fuse_device = false};

  CHECK(has(config.reason("membrs"), "did you mean members?"));
  CHECK(has(config.reason("push.chunk-byte"), "did you mean push.chunk-bytes?"));
  CHECK(has(config.reason("memmory"), "did you mean memory?"));
  CHECK(has(config.reason("node"), "wrong type"));
  CHECK(has(config.reason("node"), "not a node name"));
  CHECK(has(config.reason("fuse-threads"), "without quotes"));
  CHECK(has(config.reason("push.enabled"), "without quotes"));
  CHECK(has(config.reason("mount"), "required"));
  CHECK(has(config.reason("memory"), "not a size"));
  CHECK(has(config.reason("log-level"), "debug, info, warning, error"));
  CHECK(has(config.reason("peer-listen"), "port is missing"));
  CHECK(has(config.reason("http-listen"), "not an IP address"));
  CHECK(has(config.reason("push.jitter"), "not a duration"));
  CHECK(has(config.reason("push.max-retries"), "0 to 100"));
  CHECK(has(config.reason("disk-threads"), "no value"));
  CHECK(has(config.reason("trash.grace"), "given 2 times"));
  CHECK(has(config.reason(""), "root"));
  CHECK(has(config.reason(""), "/dev/fuse"));

  const auto mistakes = config.load().mistakes;
  const std::string text = describe(mistakes);
  CHECK(has(text, std::to_string(mistakes.size()) + " mistakes"));
  CHECK(has(text, "memory = 12Q  (command line)"));
  CHECK(has(text, "shufflefs.toml line 1"));
}

TEST_CASE("config: a file that is missing or is not TOML") {
  Config config;
  config.file = config.directory.path("nothing.toml");
  CHECK(has(config.reason("config"), "cannot be read"));
  config.write_file("memory = \nnode");
  CHECK(has(config.reason("config"), "not TOML"));
}

TEST_CASE("config: the mount directory") {
  Config config;
  SECTION("missing") {
    config.set("mount", config.directory.path("absent/deep"));  // made when we mount
    CHECK(config.reason("mount").empty());
  }
  SECTION("a file") {
    config.set("mount", config.directory.write("file", "x"));
    CHECK(has(config.reason("mount"), "not a directory"));
  }
  SECTION("not empty") {
    config.directory.write("mnt/file", "x");
    CHECK(has(config.reason("mount"), "not empty"));
  }
  SECTION("inside of a data directory") {
    config.set("mount", config.directory.make("data/mnt"));
    CHECK(has(config.reason("mount"), "inside the data directory"));
  }
  SECTION("inside of a data directory by way of a link") {
    config.directory.make("data/mnt");
    std::filesystem::create_directory_symlink(config.directory.path("data"),
                                              config.directory.path("link"));
    config.set("mount", config.directory.path("link/mnt"));
    CHECK(has(config.reason("mount"), "inside the data directory"));
  }
  SECTION("around a data directory") {
    config.set("data", config.directory.path("mnt/data"));
    CHECK(has(config.reason("data"), "inside the mount"));
  }
  SECTION("something is mounted there") {
    config.set("mount", "/proc");
    CHECK(has(config.reason("mount"), "mounted there already"));
  }
}

TEST_CASE("config: data directories") {
  Config config;
  auto set_data = [&](std::vector<std::string> paths) {
    config.flags["data"] = {std::move(paths), "command line"};
  };
  SECTION("two disks") {
    set_data({config.directory.path("a"), config.directory.path("b/")});
    CHECK(config.load().mistakes.empty());
    CHECK(config.load().settings.data.back() == config.directory.path("b"));
  }
  SECTION("the same twice") {
    set_data({config.directory.path("a"), config.directory.path("x/../a/")});
    CHECK(has(config.reason("data"), "same directory"));
  }
  SECTION("one within the other") {
    set_data({config.directory.path("a"), config.directory.path("a/b")});
    CHECK(has(config.reason("data"), "within each other"));
  }
  SECTION("below a file") {
    set_data({config.directory.write("file", "x") + "/data"});
    CHECK(has(config.reason("data"), "Not a directory"));
  }
  SECTION("a file") {
    set_data({config.directory.write("file", "x")});
    CHECK(has(config.reason("data"), "not a directory"));
  }
  SECTION("on a disk that is mounted read-only") {
    const std::string disk = config.directory.make("disk");
    if (::mount("none", disk.c_str(), "tmpfs", MS_RDONLY, nullptr) != 0)
      SKIP("mounting is not permitted here");
    set_data({disk + "/data"});
    const std::string reason = config.reason("data");
    ::umount2(disk.c_str(), MNT_DETACH);
    CHECK(has(reason, "Read-only file system"));
  }
}

TEST_CASE("config: beyond this machine only with a secret, certificates, or --insecure") {
  Config config;
  SECTION("the default address becomes one of this machine") {
    CHECK(config.load().settings.peer_listen.host == "127.0.0.1");
    config.set("peer-listen", "[::]:7000");
    CHECK(config.load().settings.peer_listen == HostPort{"::1", 7000});
    CHECK(config.load().mistakes.empty());
  }
  SECTION("an address of the network") {
    config.set("peer-listen", "10.0.0.1:7338");
    CHECK(has(config.reason("peer-listen"), "--secret-file"));
    config.set("insecure", "true");
    CHECK(config.load().mistakes.empty());
    config.set("insecure", "false");
    config.set("secret-file", "/etc/secret");
    CHECK(config.load().mistakes.empty());
    CHECK(config.load().settings.peer_security.secret_file == "/etc/secret");
  }
  SECTION("members on other machines") {
    for (const char* members : {"dns:shufflefs:7338", "node1=127.0.0.1:7338,node2=10.0.0.2:7338"}) {
      config.set("members", members);
      CHECK(has(config.reason("members"), "other machines"));
    }
    config.set("members", "node1=127.0.0.1:7338,node2=127.0.0.2:7338");
    CHECK(config.load().mistakes.empty());
  }
  SECTION("the files of TLS go together") {
    config.set("tls-cert", "/etc/cert");
    config.set("tls-ca", "/etc/ca");
    CHECK(has(config.reason("tls-key"), "go together"));
    config.set("tls-key", "/etc/key");
    CHECK(config.load().mistakes.empty());
    CHECK(config.load().settings.peer_listen.host == "0.0.0.0");
  }
}

TEST_CASE("config: members") {
  Config config;
  config.set("insecure", "true");
  SECTION("good") {
    config.set("members", "node1=10.0.0.1:7338,node2=[::1]:7338");
    CHECK(config.reason("members").empty());
  }
  SECTION("by name service") {
    config.set("members", "dns:shufflefs.default.svc:7338");
    CHECK(config.reason("members").empty());
  }
  SECTION("garbage") {
    config.set("members", "node1,node2=1:2:3");
    CHECK(has(config.reason("members"), "NAME=ADDR:PORT"));
  }
  SECTION("only where to begin") {
    config.set("members", "node2=10.0.0.2:7338");
    CHECK(config.reason("members").empty());
  }
  SECTION("with another port than the one we listen on") {
    config.set("members", "node1=10.0.0.1:7000");
    CHECK(has(config.reason("members"), "listed with port 7000"));
    config.set("peer-listen", "10.0.0.1:7000");
    CHECK(config.reason("members").empty());
  }
}

TEST_CASE("config: the relay") {
  Config config;
  config.set("spark-relay", "redirect");
  CHECK(config.reason("spark-relay").empty());
  config.set("spark-secret-file", "/etc/spark.secret");
  CHECK(has(config.reason("spark-relay"), "spark-secret-file"));
  config.set("spark-relay", "off");
  CHECK(config.reason("spark-relay").empty());
}

TEST_CASE("config: ranges that depend on each other") {
  Config config;
  config.set("memory", "32M");
  config.set("push.max-block-bytes", "16M");
  CHECK(has(config.reason("push.max-block-bytes"), "raise --memory to 64M"));
  config.set("push.max-block-bytes", "8M");
  CHECK(config.reason("push.max-block-bytes").empty());
  config.set("memory", "31M");
  CHECK(has(config.reason("memory"), "32M"));
  config.set("memory", "32M");
  config.set("http-listen", "127.0.0.1:7338");
  CHECK(has(config.reason("http-listen"), "same address"));
}

// Something else than the key has in `settings`, and allowed.
void change(const ConfigKey& key, Settings& settings) {
  const std::vector<std::string> before = value_texts(key, settings);
  const auto number = [&](uint64_t more) {
    return fmt::format("{}{}", key.least + more, key.kind == ValueKind::kDuration ? "ms" : "");
  };
  for (const std::string& text :
       {std::string("true"), std::string("false"), number(1), number(2), std::string("debug"),
        std::string("json"), std::string("all"), std::string("fuse"), std::string("redirect"),
        std::string("127.0.0.1:9"), std::string("node2=127.0.0.1:9"), std::string("/other"),
        std::string("node2")}) {
    Settings changed = settings;
    if (!read_value(key, text, changed) || value_texts(key, changed) == before) continue;
    settings = changed;
    return;
  }
  FAIL("nothing else is allowed for " << key.name);
}

TEST_CASE("config: what is told to the worker is all there is") {
  const Config config;
  const Settings defaults = config.load().settings;
  Settings settings = defaults;
  for (const ConfigKey& key : config_keys()) {
    INFO(key.name);
    change(key, settings);
    CHECK(value_texts(key, settings) != value_texts(key, defaults));
  }
  Config worker;
  worker.flags.clear();
  worker.write_file(settings_as_toml(settings));
  CHECK(worker.load().settings == settings);
}

TEST_CASE("config: the settings of a node are a file that it takes") {
  Config config;
  config.set("spark-listen", "");
  const LoadedConfig loaded = config.load();
  REQUIRE(loaded.mistakes.empty());
  Config again;
  again.flags.clear();
  again.write_file(settings_as_toml(loaded.settings));
  const LoadedConfig read = again.load();
  INFO(describe(read.mistakes));
  CHECK(read.mistakes.empty());
  CHECK(read.settings == loaded.settings);
}

TEST_CASE("config docs: every key has help, a price, and a default or a reason") {
  for (const ConfigKey& key : config_keys()) {
    INFO(key.name);
    CHECK_FALSE(key.help.empty());
    CHECK_FALSE(key.price.empty());
    CHECK(key.help.ends_with('.'));
    CHECK(key.price.ends_with('.'));
    CHECK(find_config_key(key.name) == &key);
  }
  CHECK(config_keys().size() <= 60);
}

}  // namespace shufflefs
