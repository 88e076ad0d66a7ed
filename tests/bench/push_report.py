"""What scripts/bench push measured, as Markdown tables and as a picture; and which goals it missed."""

import math

from mount_report import COLOURS, GRID, INK, Canvas, size, table

TOP, HEIGHT, WIDTH = 70, 300, 480
SIDES = {"ours": "shufflefs, both sides", "tcp": "read, TCP, write", "cp": "cp"}


def per_gb(side):
    return side["cpu_s"] / side["gb"]


def name_of(block):
    return f"{block} B" if block < 1024 else size(block)


def missed(report, goal):
    lines = []
    for case in report["sizes"]:
        ours = case["ours"]
        if case["block"] == 64 << 10 and per_gb(ours) > goal:
            lines.append(f"blocks of 64 KiB: {per_gb(ours):.2f} CPU seconds/GB, goal {goal}")
    for case in report["sizes"] + report["nodes"] + report["growth"]:
        if case["ours"]["merged_share"] < 0.999:
            lines.append(f"{describe(case)}: only {100 * case['ours']['merged_share']:.1f} % merged")
    return lines


def describe(case):
    return f"{case['nodes']} nodes, {case['maps']} x {case['partitions']} blocks of {name_of(case['block'])}"


def row_of(case):
    ours = case["ours"]
    sides = " / ".join(f"{per_gb(case[side]):.2f}" for side in SIDES)
    return [name_of(case["block"]), str(case["nodes"]), f"{case['maps']} x {case['partitions']}", sides,
            f"{per_gb(ours) / per_gb(case['tcp']):.2f}" if case["tcp"]["cpu_s"] > 0 else "", f"{ours['gb'] * 1000 / ours['seconds']:.0f}",
            f"{ours['peak_mb']:.0f}", f"{ours['extent_kib']:.0f}"]


def markdown(report):
    head = ["block", "nodes", "maps x partitions", "CPU s/GB: " + " / ".join(SIDES.values()), "of TCP", "MB/s", "peak RSS, MB",
            "mean extent, KiB"]
    lines = [f"`scripts/bench push`, commit {report['commit']}, kernel {report['kernel']}, {report['processors']} processors, load "
             f"{report['load']:.0f} at the end.", "", *table(head, [row_of(case) for case in report["sizes"] + report["nodes"]]), "",
             "Growth, 2 nodes, blocks of 200 bytes:", ""]
    rows = []
    for case in report["growth"]:
        blocks = case["maps"] * case["partitions"]
        ours = case["ours"]
        rows.append([f"{case['maps']} x {case['partitions']}", f"{blocks:,}", f"{ours['seconds']:.1f}", f"{ours['cpu_s']:.1f}",
                     f"{ours['cpu_s'] * 1e6 / blocks:.1f}", f"{ours['peak_mb']:.0f}"])
    lines += table(["maps x partitions", "blocks", "seconds", "CPU s", "CPU us a block", "peak RSS, MB"], rows)
    return "\n".join(lines) + "\n"


def log_axis(canvas, left, values, low, high, label):
    """Horizontal lines at the powers of ten between low and high; the function from a value to its height."""
    def height(value):
        return TOP + HEIGHT * (math.log10(high) - math.log10(max(value, low))) / (math.log10(high) - math.log10(low))
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        if low <= 10 ** power <= high:
            canvas.line([(left, height(10 ** power)), (left + WIDTH, height(10 ** power))], GRID)
            canvas.text(left - 6, height(10 ** power) + 4, f"{10 ** power:g}", "end")
    canvas.text(left, TOP - 35, label, bold=True)
    return height if values else None


def draw_sizes(canvas, left, cases):
    values = [per_gb(case[side]) for case in cases for side in SIDES]
    low, high = min([0.1, *values]) * 0.8, max([10, *values]) * 1.2
    height = log_axis(canvas, left, values, low, high, "CPU seconds for a GB, 2 nodes, over the size of a block")
    for number, case in enumerate(cases):
        canvas.text(left + WIDTH * (number + 0.5) / len(cases), TOP + HEIGHT + 18, name_of(case["block"]), "middle")
    for number, (side, name) in enumerate(SIDES.items()):
        canvas.line([(left + WIDTH * (i + 0.5) / len(cases), height(per_gb(case[side]))) for i, case in enumerate(cases)], COLOURS[number], 2)
        canvas.text(left + number * 170, TOP + HEIGHT + 40, f"- {name}", colour=COLOURS[number], bold=True)


def draw_growth(canvas, left, cases):
    values = [case["ours"][key] for case in cases for key in ("cpu_s", "peak_mb")]
    height = log_axis(canvas, left, values, min([0.1, *values]) * 0.8, max([100, *values]) * 1.2,
                      "Growth with the number of blocks (200 bytes each), 2 nodes")
    for number, case in enumerate(cases):
        canvas.text(left + WIDTH * (number + 0.5) / len(cases), TOP + HEIGHT + 18, f"{case['maps'] * case['partitions']:,}", "middle")
    for number, (key, name) in enumerate((("cpu_s", "CPU seconds"), ("peak_mb", "peak RSS, MB"))):
        canvas.line([(left + WIDTH * (i + 0.5) / len(cases), height(case["ours"][key])) for i, case in enumerate(cases)], COLOURS[number], 2)
        canvas.text(left + number * 170, TOP + HEIGHT + 40, f"- {name}", colour=COLOURS[number], bold=True)


def picture(report):
    canvas = Canvas(1180, TOP + HEIGHT + 70)
    draw_sizes(canvas, 70, report["sizes"])
    draw_growth(canvas, 660, report["growth"])
    canvas.text(70, 18, f"commit {report['commit']}, kernel {report['kernel']}, {report['processors']} processors", colour=INK)
    return canvas.finish()
