#include <catch2/catch_test_macros.hpp>

#include "net/admin_http.h"

namespace shufflefs::net {
namespace {

HttpQuestion question(HttpMethod method, std::string path, std::string host = "127.0.0.1:7340") {
  HttpQuestion made;
  made.method = method;
  made.path = std::move(path);
  made.host = std::move(host);
  return made;
}

unsigned answer_of(const HttpGuard& guard, const HttpQuestion& question) {
  const auto refused = guard.refuse(question);
  return refused ? refused->status : 200;
}

}  // namespace

TEST_CASE("http guard: a Host header that names a machine, or somebody's domain") {
  for (const char* const host : {"", "localhost", "localhost:7340", "127.0.0.1", "127.0.0.13:7340",
                                 "10.1.2.3:80", "[::1]", "[::1]:7340", "[fe80::1]:7340"})
    CHECK(is_local_host_header(host));
  for (const char* const host :
       {"evil.example", "evil.example:7340", "127.0.0.1.evil.example", "localhost.evil.example",
        "[::1", "[evil.example]", ":7340", "127.0.0.1 evil", "localhost@evil"})
    CHECK_FALSE(is_local_host_header(host));
}

TEST_CASE("http guard: on loopback without a token") {
  const HttpGuard guard({"", false, {"/healthz", "/"}});
  CHECK(answer_of(guard, question(HttpMethod::kGet, "/metrics")) == 200);
  CHECK(answer_of(guard, question(HttpMethod::kDelete, "/a")) == 200);
  CHECK(answer_of(guard, question(HttpMethod::kGet, "/healthz", "evil.example")) == 200);
  CHECK(answer_of(guard, question(HttpMethod::kGet, "/metrics", "evil.example")) == 403);
  CHECK(answer_of(guard, question(HttpMethod::kDelete, "/healthz", "evil.example")) == 403);
  HttpQuestion cross = question(HttpMethod::kPost, "/a");
  cross.origin = "http://evil.example";
  CHECK(answer_of(guard, cross) == 403);
  cross.origin = "null";
  CHECK(answer_of(guard, cross) == 403);
  cross.origin = "http://127.0.0.1:7340";
  CHECK(answer_of(guard, cross) == 200);
  cross.fetch_site = "same-origin";
  CHECK(answer_of(guard, cross) == 200);
  cross.fetch_site = "cross-site";
  CHECK(answer_of(guard, cross) == 403);
  // An empty token is none, and never a valid one.
  cross.authorization = "Bearer ";
  CHECK(answer_of(guard, cross) == 403);
}

TEST_CASE("http guard: with a token, on loopback and beyond") {
  for (const bool beyond : {false, true}) {
    const HttpGuard guard({"secret", beyond, {"/healthz"}});
    CHECK(answer_of(guard, question(HttpMethod::kGet, "/healthz")) == 200);
    CHECK(answer_of(guard, question(HttpMethod::kGet, "/metrics")) == (beyond ? 401 : 200));
    CHECK(answer_of(guard, question(HttpMethod::kDelete, "/a")) == 401);
    for (const char* const wrong : {"secret", "Bearer secre", "Bearer secrets", "Bearer  secret",
                                    "bearer secret", "Basic secret", "Bearer"}) {
      HttpQuestion asked = question(HttpMethod::kDelete, "/a");
      asked.authorization = wrong;
      CHECK(answer_of(guard, asked) == 401);
    }
    HttpQuestion asked = question(HttpMethod::kDelete, "/a", "evil.example");
    asked.authorization = "Bearer secret";
    CHECK(answer_of(guard, asked) == 200);
    asked.method = HttpMethod::kGet;
    CHECK(answer_of(guard, asked) == 200);
  }
}

}  // namespace shufflefs::net
