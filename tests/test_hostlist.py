"""Host lists: what Slurm writes comes out name by name, what it never writes is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdspend.hostlist import expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" , ", []),
        ("n1", ["n1"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("a[01-03]b", ["a01b", "a02b", "a03b"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("r[1-2]n[0-1]", ["r1n0", "r1n1", "r2n0", "r2n1"]),
        ("login,n[1-2],dgx-01.example.org", ["login", "n1", "n2", "dgx-01.example.org"]),
        ("n3 n1\tn2", ["n3", "n1", "n2"]),
        ("n1, n2,", ["n1", "n2"]),
        ("n[1,3[0-1]]", ["n1", "n30", "n31"]),
        ("n[1-2],n2", ["n1", "n2"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_a_host_list_stands_for_its_names_in_order(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("n[1-3", "'\\[' has no"),
        ("n1-3]", "'\\]' has no"),
        ("n][1", "'\\]' has no"),
        ("n[]", "'' between brackets"),
        ("n[1,,2]", "'' between brackets"),
        ("n[3-1]", "'3-1' runs backward"),
        ("n[a-c]", "'a-c' between brackets"),
        ("n[1-]", "'1-' between brackets"),
        ("n[-1]", "'-1' between brackets"),
        ("n[1 2]", "'1 2' between brackets"),
        ("n[١-٣]", "between brackets"),
        ("n[1-1000001]", "more than 1,000,000"),
        ("n[1-1000][1-1001]", "more than 1,000,000"),
        ("n[1-999999999999999999]", "more than 1,000,000"),
        ("n[99999999999999999999]", "between brackets"),
        ("[" * 40 + "1" + "]" * 40, "nested"),
    ],
)
def test_what_is_not_a_host_list_is_refused(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        expand(text)


@given(st.lists(st.tuples(st.sampled_from(["n", "gpu-", "a1x"]), st.integers(0, 500), st.integers(0, 20), st.integers(1, 4))))
def test_every_number_of_a_range_comes_out_once_and_padded(parts: list[tuple[str, int, int, int]]) -> None:
    text = ",".join(f"{name}[{first:0{width}d}-{first + more}]" for name, first, more, width in parts)
    expected = [f"{name}{i:0{width}d}" for name, first, more, width in parts for i in range(first, first + more + 1)]
    assert expand(text) == list(dict.fromkeys(expected))


@given(st.text(alphabet="n1-9,[] 0", max_size=40))
def test_any_text_gives_plain_names_or_a_value_error(text: str) -> None:
    try:
        names = expand(text)
    except ValueError:
        return
    assert len(names) == len(set(names))
    assert not any(set(name) & set("[], ") for name in names)
