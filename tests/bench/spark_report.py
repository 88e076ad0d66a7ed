"""What scripts/bench spark has measured: the rows as JSON, tables as Markdown, and pictures."""

import json
import os
import statistics
import subprocess

from mount_report import COLOURS, GRID, Canvas, table

SYSTEMS = ("jvm", "ours", "relay", "client")
NAMES = {"jvm": "stock Spark, JVM service", "ours": "stock Spark, our service", "relay": "stock Spark, our relay", "client": "our client"}
# At 200 x 200 x 50 KB, of stock Spark's: map stage, reduce stage, all of it.
GOALS = {"map_s": 1.1, "reduce_s": 0.17, "total_s": 0.33}
COLUMNS = {"map_s": "map, s", "flush_s": "flush, s", "reduce_s": "reduce, s", "total_s": "total, s", "reads": "disk reads", "mean_kb": "mean KiB",
           "read_mb": "read, MB", "disk_s": "disks need, s", "merged_percent": "merged, %", "node_local_percent": "at the owner, %", "connections": "connections", "services_cpu_s": "services, CPU s",
           "executors_cpu_s": "executors, CPU s", "services_mb": "services, MB", "load": "load", "probe_ms": "probe, ms"}
MEMORY = {"services_mb": "services, resident MB", "services_heap_mb": "of it JVM heap", "executor_mb": "an executor, resident MB",
          "executor_heap_mb": "its heap", "executor_off_heap_mb": "its off-heap"}


def line(row):
    """For the terminal, while it runs."""
    return "  ".join(f"{name} {value}" for name, value in row.items() if not isinstance(value, (list, dict)))


def commit(root):
    done = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"


def block_name(size):
    return f"{size // 1000} KB" if size % 1024 else f"{size // 1024} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


class Report:
    """`directory`: where spark.json lies and grows; None for nowhere."""

    def __init__(self, directory, root):
        self.directory = directory
        self.commit = commit(root)
        self.rows = []
        if directory:
            os.makedirs(directory, exist_ok=True)
            if os.path.exists(self.path("json")):
                with open(self.path("json"), encoding="utf-8") as file:
                    self.rows = json.load(file)

    def path(self, ending):
        return os.path.join(self.directory, f"spark.{ending}")

    def add(self, row):
        self.rows.append(row | {"commit": self.commit})
        if not self.directory:
            return
        for ending, text in {"json": json.dumps(self.rows, indent=1) + "\n", "md": self.markdown()}.items():
            with open(self.path(ending), "w", encoding="utf-8") as file:
                file.write(text)
        if self.groups():
            self.write("spark-stages.svg", stage_picture(self.groups()))
        if self.queries():
            self.write("spark-queries.svg", query_picture(self.queries()))

    def write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write(text)

    def groups(self):
        """[(the shape of a job, {system: its rows})], the largest shuffle last."""
        found = {}
        for row in self.rows:
            if "map_s" in row:
                shape = (row["disks"], row["block_bytes"], row["maps"], row["reducers"], row["nodes"])
                found.setdefault(shape, {}).setdefault(row["system"], []).append(row)
        return sorted(found.items(), key=lambda group: (not group[0][0], group[0]))

    def queries(self):
        """{system: {query: the last row of it}}"""
        return {system: {query["query"]: query for row in self.rows if row["system"] == system for query in row.get("queries", [])}
                for system in SYSTEMS if any(row["system"] == system and "queries" in row for row in self.rows)}

    # ---- tables

    def markdown(self):
        lines = []
        for shape, of in self.groups():
            lines += [*job_table(shape, of), ""]
        if self.queries():
            lines += [*query_table(self.queries()), ""]
        return "\n".join(lines)


def median(rows, key):
    return statistics.median(row.get(key) or 0 for row in rows)


def form(key, value):
    return f"{value:.1f}" if key.endswith("_s") or key == "load" else f"{value:.0f}"


def job_table(shape, of):
    disks, block, maps, reducers, nodes = shape
    where = "emulated disks" if disks else "from the page cache"
    lines = [f"{maps} maps x {reducers} reducers x {block_name(block)}, {maps * reducers * block / 1e6:.0f} MB, {nodes} nodes, {where}; "
             f"commits {', '.join(sorted({row['commit'] for rows in of.values() for row in rows}))}", ""]
    rows = [[f"{NAMES[system]} ({len(of[system])})", *(form(key, median(of[system], key)) for key in COLUMNS)]
            for system in SYSTEMS if system in of]
    lines += table(["medians (runs)", *COLUMNS.values()], rows)
    memory = [[NAMES[system], *(form(key, median(of[system], key)) for key in MEMORY)] for system in SYSTEMS if system in of]
    lines += ["", *table(["memory", *MEMORY.values()], memory)]
    ratios = []
    for base in ("jvm", "ours"):
        for ours in (one for one in ("relay", "client") if base in of and one in of):
            ratio = {key: median(of[ours], key) / max(0.1, median(of[base], key)) for key in GOALS}
            ratios.append(f"{ours} / {NAMES[base]}: " + ", ".join(f"{COLUMNS[key].partition(',')[0]} {ratio[key]:.2f}" for key in GOALS))
    return lines + ["", *ratios]


def query_table(queries):
    names = list(dict.fromkeys(name for found in queries.values() for name in found))
    rows = []
    for name in names:
        for system, found in queries.items():
            if name in found:
                query = found[name]
                stages = ", ".join(f"{stage['seconds']:.1f}" for stage in query["stages"])
                rows.append([name, query["kind"], NAMES[system], f"{query['seconds']:.1f}", stages, f"{query['shuffle_mb']:.0f}", f"{query['reads']}",
                             f"{query['merged_percent']:.0f}", f"{query['executors_cpu_s']:.1f}", f"{query['services_cpu_s']:.1f}"])
    return table(["query", "kind", "system", "s", "its stages, s", "shuffle, MB", "disk reads", "merged, %", "executors, CPU s", "services, CPU s"], rows)


# ---- pictures --------------------------------------------------------------------------------------------------------

LEFT, WIDTH, GAP, TOP, BAR = 190, 300, 60, 60, 20
STAGES = (("map_s", COLOURS[0], "map"), ("flush_s", "#bbbbbb", "until it is on disk"), ("reduce_s", COLOURS[1], "reduce"))
PANELS = (("reads", "disk reads in the reduce stage", COLOURS[2]), ("services_cpu_s", "services, CPU s", COLOURS[3]),
          ("services_mb", "services, MB resident", COLOURS[2]))


def stage_picture(groups):
    """A row of bars for each system of each shape; each shape has its own scale, as they differ by a factor of ten."""
    groups = [group for group in groups if group[0][0]] or groups
    height = TOP + sum(len(of) * BAR + 34 for _, of in groups) + 30
    width = LEFT + (len(PANELS) + 1) * (WIDTH + GAP)
    canvas = Canvas(width, height)
    canvas.text(LEFT, TOP - 14, "seconds of the stages", bold=True)
    for number, (_, title, _) in enumerate(PANELS, 1):
        canvas.text(LEFT + number * (WIDTH + GAP), TOP - 14, title, bold=True)
    y = TOP
    for shape, of in groups:
        _, block, maps, reducers, _ = shape
        canvas.line([(20, y), (width - 20, y)], GRID)
        canvas.text(20, y + 16, f"blocks of {block_name(block)}: {maps} x {reducers}, {maps * reducers * block / 1e6:.0f} MB", bold=True)
        y += 22
        for system in (one for one in SYSTEMS if one in of):
            canvas.text(LEFT - 8, y + 13, NAMES[system], "end")
            stage_bar(canvas, y, of, system)
            for number, (key, _, colour) in enumerate(PANELS, 1):
                left = LEFT + number * (WIDTH + GAP)
                bar(canvas, left, y, median(of[system], key), max(median(rows, key) for rows in of.values()), colour, form(key, median(of[system], key)))
            y += BAR
        y += 12
    for number, (_, colour, title) in enumerate(STAGES):
        canvas.text(LEFT + number * 90, height - 10, title, colour=colour if number != 1 else "#777777", bold=True)
    return canvas.finish()


def bar(canvas, left, y, value, most, colour, text):
    width = max(1, value / max(most, 1e-9) * (WIDTH - 50))
    canvas.box(left, y + 2, width, BAR - 5, colour)
    canvas.text(left + width + 4, y + 13, text)


def stage_bar(canvas, y, of, system):
    scale = (WIDTH - 50) / max(sum(median(rows, key) for key, _, _ in STAGES) for rows in of.values())
    x = LEFT
    for key, colour, _ in STAGES:
        canvas.box(x, y + 2, median(of[system], key) * scale, BAR - 5, colour)
        x += median(of[system], key) * scale
    canvas.text(x + 4, y + 13, " + ".join(form(key, median(of[system], key)) for key, _, _ in STAGES))


def query_picture(queries):
    names = list(dict.fromkeys(name for found in queries.values() for name in found))
    height = TOP + len(names) * (len(queries) * BAR + 14) + 20
    columns = (("seconds", "seconds", COLOURS[0]), ("reads", "disk reads", COLOURS[2]), ("executors_cpu_s", "executors, CPU s", COLOURS[3]))
    canvas = Canvas(LEFT + 110 + len(columns) * (WIDTH + GAP), height)
    y = TOP
    for number, (_, title, _) in enumerate(columns):
        canvas.text(LEFT + 110 + number * (WIDTH + GAP), TOP - 14, title, bold=True)
    for name in names:
        of = {system: found[name] for system, found in queries.items() if name in found}
        canvas.text(20, y + 13, f"{name} ({next(iter(of.values()))['kind']})", bold=True)
        for system, query in of.items():
            canvas.text(LEFT + 102, y + 13, NAMES[system], "end")
            for number, (key, _, colour) in enumerate(columns):
                bar(canvas, LEFT + 110 + number * (WIDTH + GAP), y, query[key], max(one[key] for one in of.values()), colour, form(key, query[key])
                    if key != "seconds" else f"{query[key]:.1f}")
            y += BAR
        canvas.line([(20, y + 6), (LEFT + 110 + len(columns) * (WIDTH + GAP) - 20, y + 6)], GRID)
        y += 14
    return canvas.finish()
