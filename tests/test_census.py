"""Every name that the census of real scripts found is there and works in a small use, or has a reason."""
import re
import warnings

import census
import fireseed
import pytest
from fireseed.check import status

ENTRIES = census.entries()
# Not PyTorch's to answer for: what the census took from another library's objects, and what PyTorch removed.
NOT_PYTORCHS = {"Tensor.resize", "torch.onnx._export"}


def test_the_census_is_complete():
    assert len(ENTRIES) == len({e.name for e in ENTRIES}) == 542
    for entry in ENTRIES:
        for keyword in entry.keywords if entry.code else ():
            assert re.search(rf"\b{keyword}=", entry.code), f"{entry.name}: the small use does not pass {keyword}="


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.code], ids=lambda e: e.name)
def test_it_works(entry):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated forms, and of schedulers stepped alone
        census.run(entry.code, fireseed)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.reason], ids=lambda e: e.name)
def test_what_is_not_there_says_why(entry):
    assert len(entry.reason) > 20
    if entry.name not in NOT_PYTORCHS:
        kind, reason = status(entry.name)
        assert kind == "missing"
        assert reason != "fireseed has no such name"
