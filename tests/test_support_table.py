# docs/support.md is what the engine does today.
import pytest
from support_table import PATH, make
from under_test import IS_FIRESEED


@pytest.mark.skipif(not IS_FIRESEED, reason="the table is about fireseed")
def test_table_is_current():
    with open(PATH) as file:
        written = file.read()
    assert written == make(), "docs/support.md is out of date: run `make support`"
