"""Numbers in the documents that the code decides: each row is a place in a document, and the place in the sources that says
the same. Names in the sources may change their prefix (kMost, kMax)."""

import glob
import os
import re

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SHIFTS = {"Ki": 10, "Mi": 20, "Gi": 30}
KEY = r"### `%s`\s+`[^`]*`; default `(?:[\d.]*:)?(\d+)M?`"

# Document, text with a number; folder or file, pattern of the number there. Without a group the matches are counted; what two
# places ("+") say is added up.
FIGURES = [
    ("docs/wire.md", "protocol version {}", "net", r"kProtocolVersion = ([^;]+);"),
    ("docs/wire.md", "A node answers at most {} connections", "net", r"max_server_connections = ([^;]+);"),
    ("docs/wire.md", "of which {} may be", "net", r"max_handshakes = ([^;]+);"),
    ("docs/wire.md", "shaking hands, {} of one address", "net", r"max_handshakes_per_address = ([^;]+);"),
    ("docs/wire.md", "At most {} members are taken", "net", r"k(?:Most|Max)Members = ([^;]+);"),
    ("docs/wire.md", "--peer-listen`, {} by default", "docs/configuration.md", KEY % "peer-listen"),
    ("docs/memory.md", "report to others | {}B,", "merge", r"k(?:Most|Max)ReportBytes = ([^;]+);"),
    ("docs/spark-service.md", "answers on port {} as Spark's", "docs/configuration.md", KEY % "spark-listen"),
    ("docs/page.md", "http://127.0.0.1:{}/", "docs/configuration.md", KEY % "http-listen"),
    ("docs/page.md", "at most {} of them", "main/cluster_view.h", r"k(?:Most|Max)Nodes = ([^;]+);"),
    ("docs/page.md", "Events are the last {} of each", "main/node_report.h", r"k(?:Most|Max)Events = ([^;]+);"),
    ("docs/memory.md", "| push | {}/64 |", "base", r"kShares = \{(\d+)"),
    ("docs/memory.md", "| receive | {}/64 |", "base", r"kShares = \{\d+, (\d+)"),
    ("docs/memory.md", "| read | {}/64 |", "base", r"kShares = \{\d+, \d+, (\d+)"),
    ("docs/memory.md", "| serve | {}/64 |", "base", r"kShares = \{\d+, \d+, \d+, (\d+)"),
    ("docs/memory.md", "| answer | {}/64 |", "base", r"kShares = \{\d+, \d+, \d+, \d+, (\d+)"),
    ("docs/memory.md", "| caches | {}/64 |", "base", r"kCaches = ([^;]+);"),
    ("docs/memory.md", "| open merged files | {} |", "merge", r"open_files = ([^;]+);"),
    ("docs/memory.md", "| names that are remembered | {} |", "merge", r"k(?:Most|Max)Names = (\d\d'[^;]+);"),
    ("docs/memory.md", "to be answered; {} connections", "net", r"std::size_t connections = ([^;]+);"),
    ("docs/pushing.md", "stops while {} blocks wait", "merge", r"max_queued_blocks = ([^;]+);"),
    ("docs/formats.md", "All are {} bytes", "merge", r"kIndexRecordBytes = ([^;]+);"),
    ("docs/formats.md", "format version, {} |", "merge/partition_index.cc", r"kVersion = ([^;]+);"),
    ("docs/compatibility.md", "wire.md)) | {} |", "net", r"kProtocolVersion = ([^;]+);"),
    ("docs/compatibility.md", "formats.md)) | {} |", "merge/partition_index.cc", r"kVersion = ([^;]+);"),
    ("docs/compatibility.md", "`--takeover`) | {} |", "fs", r"kSavedVersion = ([^;]+);"),
    ("docs/semantics.md", "`max_background` is {},", "fs", r"k(?:Most|Max)Background =\s*([^;]+);"),
    ("docs/comparison.md", "more than 200 | {} |", "docs/configuration.md", r"(?m)^### `"),
    ("docs/operations.md", "`spark.memory` + {} MiB:", "main/doctor", r"kOwn = (\d+)ULL << 20"),
    ("docs/operations.md", "{} MiB by default", "docs/configuration.md + main/doctor",
     f"{KEY % 'memory'}|{KEY % 'spark.memory'}|kOwn = (\\d+)ULL << 20"),
    ("README.md", "{} MB for each node by default", "docs/operations.md", r"160 MiB: (\d+) MiB by default"),
]


def sources(place):
    texts = []
    for part in place.split(" + "):
        path = os.path.join(ROOT, part)
        files = [path] if os.path.isfile(path) else sorted(
            glob.glob(f"{path}/**/*.h", recursive=True) + glob.glob(f"{path}/**/*.cc", recursive=True))
        for name in files:
            with open(name, encoding="utf-8") as file:
                texts.append(file.read())
    return "\n".join(texts)


def value(expression):
    """Of a constant such as `256U << 10U` or `std::size_t{512} << 10U`."""
    plain = re.sub(r"std::size_t|uint64_t|[{}()']", "", expression)
    return eval(re.sub(r"(\d)(?:U|UL|ULL|L)\b", r"\1", plain), {"__builtins__": {}})  # our own sources


def number(text):
    digits, _, unit = text.partition(" ")
    return int(digits.replace(",", "")) << SHIFTS.get(unit, 0)


def wrong_figures():
    wrong = []
    for document, template, place, pattern in FIGURES:
        text = " ".join(sources(document).split())
        parts = [re.escape(part) for part in template.split("{}")]
        written = re.search(r"([\d,]+(?: [KMG]i)?)".join(parts), text)
        if re.compile(pattern).groups == 0:
            decided = len(re.findall(pattern, sources(place)))
        else:
            groups = [group for match in re.finditer(pattern, sources(place)) for group in match.groups() if group]
            decided = sum(map(value, groups if "+" in place else groups[:1]))
        if not written:
            wrong.append(f"{document}: does not say '{template}'")
        elif not decided:
            wrong.append(f"{document}: '{template}': nothing in {place} matches {pattern}")
        elif number(written[1]) != decided:
            wrong.append(f"{document}: '{written[0]}', but {place} has {decided}")
    return wrong
