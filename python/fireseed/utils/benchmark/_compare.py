"""Compare: a table of measurements, rows by sub_label, columns by description, blocks by threads."""
from ._measurement import select_unit


class Compare:
    """Collects Measurements; print() shows the medians."""

    def __init__(self, results):
        self.results = []
        self.extend_results(results)

    def extend_results(self, results):
        """Adds Measurements."""
        self.results += list(results)

    def trim_significant_figures(self):
        """Accepted; medians are printed with one decimal."""

    def colorize(self, rowwise=False):
        """Accepted; the table is plain text."""

    highlight_warnings = trim_significant_figures

    def print(self):
        """Prints the table."""
        print(str(self))

    def __str__(self):
        return "\n\n".join(self._table(label) for label in dict.fromkeys(m.label for m in self.results))

    def _table(self, label):
        results = [m for m in self.results if m.label == label]
        columns = list(dict.fromkeys(m.description or "" for m in results))
        unit, scale = select_unit(min(m.median for m in results))
        rows, body = [], {}
        for m in results:
            key = m.num_threads, m.as_row_name
            if key not in body:
                rows.append(key)
                body[key] = {}
            body[key].setdefault(m.description or "", []).append(m.median)
        width = max(len(name) for _, name in rows) + 6
        wide = [max(len(c), 10) for c in columns]
        lines = [f"[{label or ''}]".center(width + sum(w + 5 for w in wide), "-"),
                 " " * width + "".join(f"  |  {c:^{w}}" for c, w in zip(columns, wide))]
        for threads in dict.fromkeys(t for t, _ in rows):
            lines.append(f"{threads} threads: ".ljust(width + sum(w + 5 for w in wide), "-"))
            for key in rows:
                if key[0] == threads:
                    cells = (body[key].get(c) for c in columns)
                    lines.append(f"      {key[1]}".ljust(width) + "".join(
                        f"  |  {sum(v) / len(v) / scale:{w}.1f}" if v else f"  |  {'':{w}}"
                        for v, w in zip(cells, wide)))
        names = {"ns": "nanoseconds (ns)", "us": "microseconds (us)", "ms": "milliseconds (ms)", "s": "seconds (s)"}
        return "\n".join([*lines, f"\nTimes are in {names[unit]}."])
