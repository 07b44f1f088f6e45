"""datasets: CSV tables and data frames, text."""
import gzip

import fireseed as fs
import numpy as np
import pytest
from fireseed import datasets as D
from fireseed.utils.data import DataLoader

CSV = """age,city,income,member,name
34,Seoul,10.5,true,"Kim, A"
NA,Busan,,false,"said ""hi\"""
51,Seoul,-3e2,True,Lee
22,,7,FALSE,NA
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    return tmp_path / "t.csv"


def test_csv_columns_have_types(path):
    t = D.read_csv(path, types={"name": "text"})
    assert len(t) == 4 and list(t.columns) == ["age", "city", "income", "member", "name"]
    assert t.types == {"age": "float", "city": "category", "income": "float", "member": "bool", "name": "text"}
    np.testing.assert_array_equal(t["age"].numpy(), np.float32([34, np.nan, 51, 22]))  # whole numbers, but one is missing
    np.testing.assert_array_equal(t["income"].numpy(), np.float32([10.5, np.nan, -300, 7]))
    assert t.categories == {"city": ["Busan", "Seoul"]} and t["city"].tolist() == [1, 0, 1, -1]
    assert t["member"].tolist() == [True, False, True, False] and t["member"].dtype == fs.bool
    assert t["name"] == ["Kim, A", 'said "hi"', "Lee", None]
    assert t.missing == {"age": 1, "city": 1, "income": 1, "member": 0, "name": 1}
    assert t[2]["city"] == 1 and t[-1]["age"] == 22 and "city: category (2)" in repr(t)
    with pytest.raises(KeyError, match="no column 'agee'; there are 'age', 'city'"):
        t["agee"]
    with pytest.raises(IndexError, match="row 4 is out of range"):
        t[4]


def test_csv_missing_values_are_filled_or_dropped(path):
    t = D.read_csv(path, fill={"age": "mean", "city": "mode", "income": 0})
    assert t["age"].tolist() == pytest.approx([34, 107 / 3, 51, 22]) and t.types["age"] == "float"
    assert t["city"].tolist() == [1, 0, 1, 1] and t["income"].tolist() == [10.5, 0, -300, 7]
    t = D.read_csv(path, fill={"age": "median"}, columns=["age", "member"])
    assert list(t.columns) == ["age", "member"] and t["age"].tolist() == [34, 34, 51, 22] and t["age"].dtype == fs.int64
    t = D.read_csv(path, drop=True)
    assert len(t) == 2 and t["age"].dtype == fs.int64 and t["city"].tolist() == [0, 0]
    assert len(D.read_csv(path, drop=True, columns=["age"])) == 3
    t = D.read_csv(path, missing=("Lee",), types=dict.fromkeys(("age", "city", "income", "name"), "text"))
    assert t["age"][1] == "NA" and t["name"][2] is None


def test_csv_categories_of_the_training_set(path, tmp_path):
    train = D.read_csv(path)
    (tmp_path / "test.csv").write_text("city,age,income,member,name\nJeju,1,2,true,x\nSeoul,1,2,true,Lee\n")
    test = D.read_csv(tmp_path / "test.csv", categories=train.categories)
    assert test["city"].tolist() == [-1, 1] and test.categories["city"] == ["Busan", "Seoul"]
    with pytest.raises(ValueError, match="test.csv: expected one of the 2 categories of 'city', found 'Jeju' in line 2"):
        D.read_csv(tmp_path / "test.csv", categories={"city": ["Busan", "Seoul"]}, unknown="error")


def test_csv_numbers(tmp_path):
    (tmp_path / "n.csv").write_text("a;b;c;d\n1;9223372036854775808;1_000;inf\n-2;1;2;1\n")
    t = D.read_csv(tmp_path / "n.csv", delimiter=";")
    assert t.types == {"a": "int", "b": "float", "c": "category", "d": "float"}
    assert t["a"].tolist() == [1, -2] and t["b"][0] == 2.0**63 and t["d"][0] == float("inf")
    with gzip.open(tmp_path / "n.csv.gz", "wt") as file:
        file.write("\ufeff1,2\r\n\r\n3,4\r\n")
    t = D.read_csv(tmp_path / "n.csv.gz", header=False)
    assert t["column1"].tolist() == [2, 4]
    (tmp_path / "n.csv").write_text("a,b\n")
    assert len(D.read_csv(tmp_path / "n.csv")) == 0


@pytest.mark.parametrize("text, options, message", [
    ("a,b\n1,2\n3\n", {}, "expected 2 fields in each line, found 1 in line 3"),
    ("a,b\n1,2,3\n", {}, "expected 2 fields in each line, found 3 in line 2"),
    ("", {}, "expected rows of CSV, found none"),
    ("a,a\n1,2\n", {}, "found 'a' more than once. If the first line is data, pass header=False"),
    ("a\n1\nx\n", {"types": {"a": "int"}}, "expected type 'int' in the column 'a', found 'x' in line 3"),
    ("a\n1\n2.5\n", {"types": {"a": "int"}}, "found '2.5' in line 3"),
    ("a\n1\nNA\n", {"types": {"a": "int"}}, "1 missing cells, which type 'int' cannot hold"),
    ("a\nmaybe\n", {"types": {"a": "bool"}}, "expected type 'bool' in the column 'a', found 'maybe' in line 2"),
    ("a\n1\n", {"types": {"a": "number"}}, "must be one of float, int, bool, category, text, got 'number'"),
    ('a\n"open\n', {}, "unexpected end of data in line 2"),
    ("a\nNA\n", {"fill": "mean"}, "no value to take the mean of"),
    ("a\nx\nNA\n", {"fill": "mean"}, "fill='mean' for the column 'a' of type category"),
])
def test_csv_errors_name_file_and_line(tmp_path, text, options, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError) as info:
        D.read_csv(tmp_path / "t.csv", **options)
    assert message in str(info.value)


def test_csv_of_another_encoding(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,b\n1,서울\n".encode("cp949"))
    with pytest.raises(ValueError, match=r"t.csv: expected text in utf-8, found byte 0xbc at offset 6 \(line 2\)"):
        D.read_csv(tmp_path / "t.csv")
    assert D.read_csv(tmp_path / "t.csv", encoding="cp949").categories == {"b": ["서울"]}
    with pytest.raises(KeyError, match="no column 'c' in .*t.csv; there are 'a', 'b'"):
        D.read_csv(tmp_path / "t.csv", encoding="cp949", types={"c": "int"})
    with pytest.raises(TypeError, match="expected a path or a pandas DataFrame, got list"):
        D.read_csv([[1]])


def test_data_frame_is_as_the_file(path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path)
    a, b = D.read_csv(path), D.read_csv(frame)
    assert a.types == b.types and a.categories == b.categories and a.missing == b.missing
    for name in a.columns:
        np.testing.assert_array_equal(a[name].numpy(), b[name].numpy())
    frame = pandas.DataFrame({"c": pandas.Categorical(["x", "y"]), "n": pandas.array([1, None], dtype="Int64")})
    t = D.read_csv(frame)
    assert t["c"].tolist() == [0, 1] and t.types["n"] == "float" and D.read_csv(frame, fill=3)["n"].tolist() == [1, 3]
    with pytest.raises(ValueError, match="the data frame: expected type 'int' in the column 'c', found 'x' in row 0"):
        D.read_csv(frame, types={"c": "int"})
    with pytest.raises(TypeError, match="the column 'd' is datetime64"):
        D.read_csv(pandas.DataFrame({"d": pandas.to_datetime(["2024-01-01"])}))


def test_tensors_of_a_table(path):
    t = D.read_csv(path, fill={"age": 0, "income": 0})
    x, y = t.tensors("member", features=["age", "city"]).tensors
    assert x.tolist() == [[34, 1], [0, 0], [51, 1], [22, -1]] and y.tolist() == [1, 0, 1, 0] and y.dtype == fs.int64
    x, = t.tensors(features=["city"], one_hot=True).tensors
    assert x.tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]
    x, y = t.tensors("income", features=["age"], standardize=True).tensors
    assert y.dtype == fs.float32 and x.mean().item() == pytest.approx(0, abs=1e-6) and x.std().item() == pytest.approx(1)
    kept = t.statistics
    other, = D.read_csv(path, fill=0).tensors(features=["age"], standardize=kept).tensors
    assert fs.allclose(other, x)
    with pytest.raises(KeyError, match="no mean and std for the column 'income'"):
        t.tensors(features=["income"], standardize=kept)
    text = D.read_csv(path, types={"name": "text"})
    assert text.tensors("member").tensors[0].shape == (4, 3)  # text is left out
    with pytest.raises(ValueError, match="the column 'name' is text"):
        text.tensors(features=["name"])
    batch = next(iter(DataLoader(D.read_csv(path, columns=["age", "city"]), batch_size=3)))
    assert batch["city"].tolist() == [1, 0, 1]


# --- text ---

def test_vocabulary():
    v = D.Vocabulary.build([["b", "a", "b"], ["c", "a"]])
    assert v.tokens == ["<pad>", "<unk>", "a", "b", "c"] and len(v) == 5 and "a" in v and "z" not in v
    assert v.encode(["c", "z", "a"]).tolist() == [4, 1, 2] and v.decode(fs.tensor([4, 2])) == ["c", "a"]
    assert v.encode([]).shape == (0,) and v.encode([]).dtype == fs.int64
    assert D.Vocabulary.build([["b", "a", "b"], ["c", "a"]], min_count=2).tokens[2:] == ["a", "b"]
    assert D.Vocabulary.build([["b", "a", "b"], ["c", "a"]], max_size=3).tokens[2:] == ["a"]
    with pytest.raises(KeyError, match="'z' is not in this vocabulary of 1 tokens, which has no '<unk>'"):
        D.Vocabulary(["a"], specials=())["z"]
    with pytest.raises(ValueError, match="max_size=1 leaves no room"):
        D.Vocabulary.build([["a"]], max_size=1)


def test_text_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"The cat, the dog.\r\n\nA cat\n")
    lines = D.TextLines(tmp_path / "a.txt", lower=True)
    assert lines.lines == ["the cat, the dog.", "a cat"] and len(lines) == 2
    assert lines.vocabulary.decode(lines[0]) == ["the", "cat", ",", "the", "dog", "."]
    assert len(D.TextLines(tmp_path / "a.txt", skip_empty=False)) == 3
    chars = D.TextLines(tmp_path / "a.txt", level="char", add_ends=True)
    assert chars.vocabulary.decode(chars[1]) == ["<bos>", "A", " ", "c", "a", "t", "<eos>"]
    other = D.TextLines(tmp_path / "a.txt", level=str.split, vocabulary=lines.vocabulary)
    assert other[0].tolist() == [1, 1, lines.vocabulary["the"], 1]
    x, lengths = next(iter(DataLoader(lines, batch_size=2, collate_fn=D.pad_collate)))
    assert x.shape == (2, 6) and lengths.tolist() == [6, 2] and x[1, 2:].tolist() == [0] * 4
    x, lengths, y = D.pad_collate([(lines[0], 3), (lines[1], 4)])
    assert x.shape == (2, 6) and y.tolist() == [3, 4]
    with pytest.raises(ValueError, match="level must be 'char', 'word' or a function"):
        D.TextLines(tmp_path / "a.txt", level="line")
    (tmp_path / "a.txt").write_bytes(b"ok\nbad \xff\n")
    with pytest.raises(ValueError, match=r"a.txt: expected text in utf-8, found byte 0xff at offset 7 \(line 2\)"):
        D.TextLines(tmp_path / "a.txt")
    assert D.TextLines(tmp_path / "a.txt", errors="replace").lines[1] == "bad \ufffd"


def test_text_windows(tmp_path):
    (tmp_path / "a.txt").write_text("hello world")
    w = D.TextWindows(tmp_path / "a.txt", 4)
    x, y = w[1]
    assert len(w) == 2 and "".join(w.vocabulary.decode(x)) == "o wo" and "".join(w.vocabulary.decode(y)) == " wor"
    assert len(D.TextWindows(tmp_path / "a.txt", 4, stride=1)) == 7 and len(D.TextWindows(tmp_path / "a.txt", 10)) == 1
    assert len(w.vocabulary) == 8 and fs.equal(w[-1][0], x)
    with pytest.raises(IndexError):
        w[2]
    with pytest.raises(ValueError, match="has 11 tokens, a window of length 11 and its target need 12"):
        D.TextWindows(tmp_path / "a.txt", 11)
    with pytest.raises(ValueError, match="length and stride must be 1 or more"):
        D.TextWindows(tmp_path / "a.txt", 0)
