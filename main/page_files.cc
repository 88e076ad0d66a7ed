#include "main/page_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "main/embedded_files.h"  // generated: main/embed.cmake

namespace shufflefs {
namespace {

constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

constexpr std::array kFiles = {
    PageFile{"/", "text/html; charset=utf-8", embedded::kIndexHtml},
    PageFile{"/page.css", "text/css; charset=utf-8", embedded::kPageCss},
    PageFile{"/page.js", "text/javascript; charset=utf-8", embedded::kPageJs},
    PageFile{"/charts.js", "text/javascript; charset=utf-8", embedded::kChartsJs},
    PageFile{"/format.js", "text/javascript; charset=utf-8", embedded::kFormatJs},
    PageFile{"/icon.svg", "image/svg+xml", embedded::kIconSvg},
    PageFile{"/api/v1/openapi.yaml", "text/yaml; charset=utf-8", embedded::kOpenapiYaml},
};

net::HttpAnswer answer_with(const PageFile& file) {
  net::HttpAnswer answer;
  answer.content_type = file.content_type;
  answer.body = file.content;
  answer.headers = {{"Content-Security-Policy", std::string(kPolicy)},
                    {"Referrer-Policy", "no-referrer"},
                    {"X-Frame-Options", "DENY"}};
  return answer;
}

Task<net::HttpAnswer> serve(net::HttpQuestion question) {
  const auto file = std::ranges::find(kFiles, question.path, &PageFile::path);
  if (file == kFiles.end()) {
    co_return net::error_answer(404, "not_found",
                                fmt::format("nothing is served at '{}'", question.path));
  }
  if (question.method == net::HttpMethod::kGet) co_return answer_with(*file);
  co_return net::error_answer(405, "invalid_argument", "use GET");
}

}  // namespace

std::span<const PageFile> page_files() { return kFiles; }

std::vector<std::string> add_page_routes(net::AdminHttp& http) {
  std::vector<std::string> paths;
  for (const PageFile& file : kFiles) {
    http.add_route(std::string(file.path), serve);
    paths.emplace_back(file.path);
  }
  return paths;
}

}  // namespace shufflefs
