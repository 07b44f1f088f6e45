"""The out= argument: memory it may and may not share, dtypes, resizing, tuples."""
import pytest
from under_test import lib as fs


def test_out_may_be_the_input():
    x = fs.arange(6.0)
    assert fs.add(x, 1, out=x) is x
    assert x.tolist() == [1, 2, 3, 4, 5, 6]


def test_empty_out_is_resized_silently(recwarn):
    out = fs.empty(0)
    fs.exp(fs.zeros(2, 3), out=out)
    assert out.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert not recwarn.list


def test_resizing_warns():
    out = fs.empty(4)
    with pytest.warns(UserWarning, match=r"shape \[4\].*output shape \[2, 3\]"):
        fs.exp(fs.zeros(2, 3), out=out)
    assert out.shape == (2, 3)


def test_result_is_cast_to_out():
    out = fs.empty(3, dtype=fs.float64)
    assert fs.add(fs.ones(3), 1, out=out).dtype == fs.float64
    with pytest.raises(RuntimeError, match="can.t be cast to the desired output type"):
        fs.add(fs.ones(3), 1, out=fs.empty(3, dtype=fs.int64))


def test_partial_overlap_is_refused():
    x = fs.arange(6.0)
    with pytest.raises(RuntimeError, match="single memory location"):
        fs.add(x[:-1], 1, out=x[1:])
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


def test_memory_used_twice_is_refused():
    with pytest.raises(RuntimeError, match="more than one element"):
        fs.exp(fs.zeros(2), out=fs.empty(1).expand(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fs.gather(x, 0, fs.tensor([2, 1, 0, 3]), out=x),
        lambda x: fs.take(x, fs.tensor([2, 1, 0, 3]), out=x),
        lambda x: fs.index_select(x, 0, fs.tensor([2, 1, 0, 3]), out=x),
        lambda x: fs.masked_select(x, x > -1, out=x),
        lambda x: fs.cat([x, x], out=x),
    ],
)
def test_out_of_a_gathering_op_may_not_be_an_input(call):
    with pytest.raises(RuntimeError, match="single memory location"):
        call(fs.arange(4.0))


def test_out_of_a_gathering_op_has_the_inputs_dtype():
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype"):
        fs.gather(fs.zeros(3), 0, fs.tensor([0, 1]), out=fs.empty(2, dtype=fs.float64))


def test_tuple_of_outs():
    values, indices = fs.empty(0), fs.empty(0, dtype=fs.int64)
    fs.max(fs.tensor([[1.0, 3.0], [4.0, 2.0]]), 1, out=(values, indices))
    assert values.tolist() == [3, 4] and indices.tolist() == [1, 0]
    with pytest.raises(TypeError, match="tuple of 2"):
        fs.max(fs.zeros(2, 2), 1, out=(values,))


def test_out_takes_no_part_in_gradients():
    x = fs.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        fs.exp(x, out=fs.empty(3))
    with fs.no_grad():
        assert fs.exp(x, out=fs.empty(3)).shape == (3,)
