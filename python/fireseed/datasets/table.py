"""Tables: CSV files and data frames as typed columns of tensors, with categories and missing values."""
import csv
import io
import os

from .. import _C
from ..utils.data import Dataset, TensorDataset
from ._files import DamagedFile, read_text

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
_TYPES = ("float", "int", "bool", "category", "text")
_TRUE, _FALSE = {"true", "yes", "t", "1"}, {"false", "no", "f", "0"}


def _number(text, kind):
    """An int or float from a cell; ValueError where it is none (Python's underscores are not numbers here)."""
    if "_" in text:
        raise ValueError(text)
    value = kind(text)
    if kind is int and not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _is(text, kind):
    try:
        _number(text, kind)
    except ValueError:
        return False
    return True


def _infer(cells):
    """The type of a column from its cells without the missing ones."""
    if not cells:
        return "float"
    if all(_is(c, int) for c in cells):
        return "int"
    if all(_is(c, float) for c in cells):
        return "float"
    lowered = {c.lower() for c in cells}
    return "bool" if lowered <= {"true", "false"} else "category"


class Table(Dataset):
    """Named columns of one length. table["age"] is a column, table[3] a dictionary of row 3, len(table) the rows.

    Columns are tensors (N): float32 (missing: NaN), int64, bool, or int64 codes of `categories[name]` (missing or
    unknown: -1); or lists of str (type "text", missing: None). `missing[name]` is the number of missing cells.
    """

    def __init__(self, columns, types, categories, missing):
        self.columns, self.types, self.categories, self.missing = columns, types, categories, missing

    def __len__(self):
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, key):
        if isinstance(key, str):
            if key not in self.columns:
                raise KeyError(f"no column {key!r}; there are {', '.join(map(repr, self.columns))}")
            return self.columns[key]
        if not -len(self) <= key < len(self):
            raise IndexError(f"Table: row {key} is out of range, there are {len(self)}")
        return {name: column[key] for name, column in self.columns.items()}

    def tensors(self, target=None, features=None, one_hot=False, standardize=False):
        """A TensorDataset (x, y), or (x,) without target: x float32 (N, F), the features side by side.

        features: names in order, by default all columns but target and text. A category is one column of its codes, or,
        with one_hot, one column for each category (all 0 where missing). y: int64 (N) for int, bool and category
        targets, else float32 (N). standardize=True: each float or int column minus its mean, by its standard deviation;
        the figures are kept in `statistics` ({name: (mean, std)}), which standardize=other.statistics applies to a test
        set.
        """
        names = [n for n in self.columns if n != target and self.types[n] != "text"] if features is None else list(features)
        statistics = standardize if isinstance(standardize, dict) else {}
        parts = []
        for name in names:
            column, kind = self[name], self.types[name]
            if kind == "text":
                raise ValueError(f"tensors: the column {name!r} is text, which has no number; read it as 'category'")
            if kind == "category" and one_hot:
                codes = _C.arange(len(self.categories[name]))
                parts.append((column.unsqueeze(1) == codes).to(_C.float32))
                continue
            column = column.to(_C.float32)
            if standardize and kind in ("float", "int"):
                if name not in statistics:
                    if isinstance(standardize, dict):
                        raise KeyError(f"tensors: standardize has no mean and std for the column {name!r}")
                    known = column[~column.isnan()].to(_C.float64)
                    std = known.std().item() if known.numel() > 1 else 1.0
                    statistics[name] = (known.mean().item() if known.numel() else 0.0, std or 1.0)
                mean, std = statistics[name]
                column = (column - mean) / std
            parts.append(column.unsqueeze(1))
        self.statistics = statistics
        x = _C.cat(parts, 1) if parts else _C.empty(len(self), 0)
        if target is None:
            return TensorDataset(x)
        y = self[target]
        if self.types[target] == "text":
            raise ValueError(f"tensors: the target {target!r} is text; read it as 'category'")
        return TensorDataset(x, y if y.is_floating_point() else y.to(_C.int64))

    def __repr__(self):
        shown = ", ".join(f"{n}: {t}" + (f" ({len(self.categories[n])})" if t == "category" else "")
                          for n, t in self.types.items())
        return f"Table({len(self)} rows; {shown})"


def _rows(path, delimiter, header, encoding, errors):
    """(names, columns of cells, line numbers) of a CSV file."""
    reader = csv.reader(io.StringIO(read_text(path, encoding, errors), newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DamagedFile(path, f"CSV with the delimiter {delimiter!r}", f"{error} in line {reader.line_num}", "") from error
    if not rows:
        raise DamagedFile(path, "rows of CSV", "none")
    names = [n.strip() for n in rows[0]] if header else [f"column{i}" for i in range(len(rows[0]))]
    if len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise DamagedFile(path, "a header of different names", f"{', '.join(map(repr, twice))} more than once",
                          "If the first line is data, pass header=False")
    if header:
        del rows[0], lines[0]
    for row, line in zip(rows, lines):
        if len(row) != len(names):
            raise DamagedFile(path, f"{len(names)} fields in each line", f"{len(row)} in line {line}", "")
    columns = [[c.strip() for c in column] for column in zip(*rows)] if rows else [[] for _ in names]
    return names, columns, lines


def _frame_columns(frame):
    """(names, columns of cells, None) of a pandas DataFrame; a missing cell is None."""
    names = [str(n) for n in frame.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"read_csv: the data frame has columns of one name among {names}")
    columns = []
    for i, name in enumerate(names):
        series = frame.iloc[:, i]
        kind = str(series.dtype)
        if "datetime" in kind or "timedelta" in kind or "complex" in kind:
            raise TypeError(f"read_csv: the column {name!r} is {kind}; make it a number, text or category first")
        gone = series.isna().tolist()
        columns.append([None if g else v for v, g in zip(series.tolist(), gone)])
    return names, columns, None


def _cell_type(cells):
    """The type of a data frame's column from its values."""
    kinds = {type(c) for c in cells}
    if not kinds:
        return "float"
    if kinds <= {bool}:
        return "bool"
    if kinds <= {int, bool}:
        return "int"
    if kinds <= {int, float, bool}:
        return "float"
    return "category"


def _convert(cell, kind):
    """A cell (text of a file, a value of a data frame) as a number of the column's type."""
    if not isinstance(cell, str):
        if kind is int and int(cell) != cell:
            raise ValueError(cell)
        return kind(cell)
    if kind is bool:
        if cell.lower() not in _TRUE | _FALSE:
            raise ValueError(cell)
        return cell.lower() in _TRUE
    return _number(cell, kind)


def _fill(values, how, name, kind):
    """The value that stands for missing ones: a number, or the mean, median or mode of the others."""
    known = [v for v in values if v is not None]
    if how in ("mean", "median", "mode"):
        import statistics
        if not known:
            raise ValueError(f"read_csv: the column {name!r} has no value to take the {how} of")
        if how != "mode" and kind not in ("int", "float"):
            raise ValueError(f"read_csv: fill={how!r} for the column {name!r} of type {kind}; 'mode' or a value fills it")
        return getattr(statistics, how)(known)
    return how


def read_csv(source, *, types=None, columns=None, delimiter=",", header=True, missing=MISSING, fill=None, drop=False,
             categories=None, unknown="missing", encoding="utf-8", errors="strict"):
    """A :class:`Table` of a CSV file (plain or gzip; RFC 4180 quotes) or of a pandas DataFrame.

    types: {column: "float", "int", "bool", "category" or "text"}; the others are inferred: int, float, bool (true,
    false), else category. An int column with missing cells becomes float. columns: the names to keep, in order.
    header=False names them column0, column1, … missing: the texts that mean "no value". fill: what replaces them, a
    value, "mean", "median" or "mode", for all columns or {column: …}; drop=True leaves out rows with missing cells.
    categories: {column: names} fixes the codes (pass the training table's `categories` for a test set); other cells
    are missing (-1), or an error with unknown="error". Raises ValueError naming file, line and column.
    """
    where = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the data frame"
    if isinstance(source, (str, os.PathLike)):
        names, cells, lines = _rows(source, delimiter, header, encoding, errors)
        gone = set(missing)
        cells = [[None if c in gone else c for c in column] for column in cells]
    elif hasattr(source, "iloc") and hasattr(source, "columns"):
        names, cells, lines = _frame_columns(source)
    else:
        raise TypeError(f"read_csv: expected a path or a pandas DataFrame, got {type(source).__name__}")
    types, categories = dict(types or {}), dict(categories or {})
    for asked in (types, categories, columns or (), fill if isinstance(fill, dict) else ()):
        for name in asked:
            if name not in names:
                raise KeyError(f"read_csv: no column {name!r} in {where}; there are {', '.join(map(repr, names))}")
    for name, kind in types.items():
        if kind not in _TYPES:
            raise ValueError(f"read_csv: the type of {name!r} must be one of {', '.join(_TYPES)}, got {kind!r}")
    if unknown not in ("missing", "error"):
        raise ValueError(f"read_csv: unknown must be 'missing' or 'error', got {unknown!r}")
    by_name = dict(zip(names, cells))
    keep = list(columns) if columns is not None else names
    if drop:
        whole = [i for i in range(len(cells[0]) if cells else 0) if all(by_name[n][i] is not None for n in keep)]
        by_name = {n: [by_name[n][i] for i in whole] for n in keep}
        lines = [lines[i] for i in whole] if lines is not None else None
    out, kinds, counts, names_of = {}, {}, {}, {}
    for name in keep:
        values = by_name[name]
        known = [v for v in values if v is not None]
        kind = types.get(name) or ("category" if name in categories else (_infer if lines is not None else _cell_type)(known))
        counts[name] = len(values) - len(known)
        column_fill = fill.get(name) if isinstance(fill, dict) else fill
        if kind in ("category", "text"):
            values = [v if v is None else str(v) for v in values]
        else:
            values = _numbers(values, kind, name, where, lines)
        if counts[name] and column_fill is not None:
            standing = _fill(values, column_fill, name, kind)
            if kind in ("category", "text"):
                standing = str(standing)
            elif kind == "int" and standing != int(standing):
                kind = "float"
            values = [standing if v is None else v for v in values]
        elif counts[name] and kind in ("int", "bool"):
            if name in types:
                raise ValueError(f"read_csv: the column {name!r} of {where} has {counts[name]} missing cells, which type "
                                 f"{kind!r} cannot hold; pass fill= or drop=True, or make it 'float'")
            kind = "float"
        kinds[name] = kind
        if kind == "text":
            out[name] = values
        elif kind == "category":
            names_of[name] = list(categories[name]) if name in categories else sorted({v for v in values if v is not None})
            out[name] = _codes(values, names_of[name], name, where, lines, unknown)
        else:
            out[name] = _column(values, kind)
    return Table(out, kinds, names_of, counts)


def _numbers(values, kind, name, where, lines):
    """The cells of a column as Python numbers; None stays."""
    convert = {"int": int, "float": float, "bool": bool}[kind]
    out = []
    for i, value in enumerate(values):
        try:
            out.append(None if value is None else _convert(value, convert))
        except (ValueError, OverflowError, TypeError):
            line = f" in line {lines[i]}" if lines is not None else f" in row {i}"
            raise DamagedFile(where, f"type {kind!r} in the column {name!r}", f"{str(value)[:60]!r}{line}", "") from None
    return out


def _codes(values, names, name, where, lines, unknown):
    index = {str(n): i for i, n in enumerate(names)}
    if unknown == "error":
        for i, value in enumerate(values):
            if value is not None and value not in index:
                line = f" in line {lines[i]}" if lines is not None else f" in row {i}"
                raise DamagedFile(where, f"one of the {len(names)} categories of {name!r}", f"{value[:60]!r}{line}", "")
    return _column([index.get(v, -1) for v in values], "int")


def _column(values, kind):
    """A tensor of Python numbers; None is NaN."""
    import numpy as np
    if kind == "float":
        return _C.from_numpy(np.array([float("nan") if v is None else v for v in values], dtype=np.float64)).to(_C.float32)
    return _C.from_numpy(np.array(values, dtype={"int": np.int64, "bool": np.bool_}[kind]))
