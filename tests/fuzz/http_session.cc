// A stranger's whole connection to the HTTP port, from its first byte: requests, several of them,
// or no HTTP at all.
//
// Held to: the connection ends; what is answered begins as HTTP does; and whatever the bytes are,
// no question reaches a handler that changes something, since the script does not know the token.
#include "net/admin_http.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/session_targets.h"

namespace shufflefs::fuzz {
namespace {

struct World {
  World() {
    const auto echo = [this](net::HttpQuestion question) -> Task<net::HttpAnswer> {
      require(question.path.starts_with('/'));
      if (question.method != net::HttpMethod::kGet) ++changes;
      std::string text = question.path;
      for (const auto& [key, value] : question.query)
        text.append("\n").append(key).append("=").append(value);
      co_return net::text_answer(std::move(text));
    };
    http.add_route("/", echo);
    http.add_route("/api/v1/shuffles", echo);
    http.set_guard([guard = net::HttpGuard({"a token that no script knows", false, {"/healthz"}})](
                       const net::HttpQuestion& question) { return guard.refuse(question); });
    require(http.listen({"127.0.0.1", 0}).has_value());
  }
  ~World() { loop.run(http.stop()); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Loop loop;
  net::AdminHttp http{loop.runtime};
  int changes = 0;
};

}  // namespace

void http_session(Input input) {
  static World world;
  std::vector<std::byte> answers;
  {
    Stranger stranger(world.loop, connect_to({"127.0.0.1", world.http.port()}));
    stranger.send(input);
    answers = stranger.end();
  }
  const std::string_view text(reinterpret_cast<const char*>(answers.data()), answers.size());
  require(text.empty() || text.starts_with("HTTP/1."));
  world.loop.until([] { return world.http.connections() == 0; });
  require(world.changes == 0);
}

}  // namespace shufflefs::fuzz
