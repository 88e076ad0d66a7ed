"""Draws docs/pictures/scale.svg from the table that scale_model prints.

    build/tests/sim/scale_model > docs/scale.csv
    python3 tests/sim/scale_picture.py docs/scale.csv docs/pictures/scale.svg
"""

import csv
import math
import sys

WIDTH, HEIGHT, PANEL = 920, 380, 350
LEFT, TOP, BOTTOM = 70, 50, 60
SERIES = (("announcements", "announcements", "#c0392b"),
          ("pushes", "pushes, each map output alone", "#2c6fbb"),
          ("pushes_combined", "pushes, a node's outputs together", "#1e8449"))
IMBALANCE = (("imbalance_even", "partitions of equal size", "#2c6fbb"),
             ("imbalance_skewed", "partitions of very different size", "#c0392b"))


class Panel:
    """One plot: x is the number of nodes, logarithmic; y as told."""

    def __init__(self, left, title, y_range, y_log):
        self.left, self.y_range, self.y_log = left, y_range, y_log
        self.parts = [f'<text x="{left}" y="{TOP - 22}" font-weight="bold">{title}</text>',
                      f'<rect x="{left}" y="{TOP}" width="{PANEL}" height="{HEIGHT - TOP - BOTTOM}" fill="none" '
                      'stroke="#888"/>']
        for nodes in (10, 100, 1000, 10_000):
            x = self.x(nodes)
            self.parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                              f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{nodes:,}</text>')
        self.parts.append(f'<text x="{left + PANEL / 2}" y="{HEIGHT - BOTTOM + 36}" text-anchor="middle">nodes</text>')

    def x(self, nodes):
        return self.left + PANEL * (math.log10(nodes) - math.log10(3)) / (4 - math.log10(3))

    def y(self, value):
        low, high = self.y_range
        if self.y_log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    def tick(self, value, text):
        y = self.y(value)
        self.parts.append(f'<line x1="{self.left}" y1="{y:.1f}" x2="{self.left + PANEL}" y2="{y:.1f}" stroke="#ddd"/>'
                          f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')

    def line(self, points, color):
        path = " ".join(f"{self.x(n):.1f},{self.y(v):.1f}" for n, v in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        self.parts += [f'<circle cx="{self.x(n):.1f}" cy="{self.y(v):.1f}" r="3" fill="{color}"/>' for n, v in points]

    def legend(self, number, text, color):
        y = TOP + 16 + 16 * number
        self.parts.append(f'<rect x="{self.left + 10}" y="{y - 8}" width="12" height="4" fill="{color}"/>'
                          f'<text x="{self.left + 28}" y="{y}">{text}</text>')


def main():
    table, picture = sys.argv[1:3]
    with open(table, encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    messages = Panel(LEFT, "Messages of one shuffle, 100,000 maps x 10,000 partitions", (1e4, 1e11), True)
    for exponent in range(4, 12):
        messages.tick(10**exponent, f"10<tspan dy='-5' font-size='9'>{exponent}</tspan>")
    for number, (name, text, color) in enumerate(SERIES):
        messages.line([(row["nodes"], row[name]) for row in rows], color)
        messages.legend(number, text, color)
    balance = Panel(LEFT + PANEL + 110, "The busiest owner, in units of the mean", (1.0, 2.6), False)
    for tenths in range(10, 27, 2):
        balance.tick(tenths / 10, f"{tenths / 10:.1f}")
    balance.line([(3, 1.3), (10_000, 1.3)], "#999999")
    for number, (name, text, color) in enumerate(IMBALANCE):
        balance.line([(row["nodes"], min(row[name], 2.6)) for row in rows], color)
        balance.legend(number, text, color)
    balance.legend(len(IMBALANCE), "the goal, 1.3", "#999999")
    with open(picture, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
                   f'height="{HEIGHT}" font-family="sans-serif" font-size="12">\n'
                   f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n')
        file.write("\n".join(messages.parts + balance.parts) + "\n</svg>\n")


if __name__ == "__main__":
    main()
