"""Labels with probabilities, as text, CSV and JSON."""

import csv
import io
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import engine

LOGITS = np.log([[0.2, 0.5, 0.3], [0.9, 0.04, 0.06]]).astype(np.float32)
ITEMS, NAMES = ["a.png", 'odd, "name".png'], ["T-shirt/top", "été", "bag"]


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(-80, 80, width=32)))
def test_probabilities_are_those_of_softmax_the_likeliest_first(logits):
    found = engine.predictions(logits, list(map(str, range(len(logits)))), top=99)
    powers = np.exp(logits.astype(np.longdouble))
    expected = powers / powers.sum(-1, keepdims=True)
    for row, labels, shares in zip(expected, found.labels, found.probabilities, strict=True):
        assert sorted(map(int, labels)) == list(range(len(row)))
        np.testing.assert_allclose(shares, row[list(map(int, labels))].astype(float), rtol=1e-12)
        assert all(a >= b for a, b in itertools.pairwise(shares))


def test_infinities_are_certain():
    found = engine.predictions([[-np.inf, 1e30, 0.0]], ["a"])
    assert found.labels == [["1", "0", "2"]]
    assert found.probabilities == [[1.0, 0.0, 0.0]]


def test_csv_and_json_hold_what_was_found_to_the_last_digit():
    found = engine.predictions(LOGITS, ITEMS, NAMES, top=2)
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert [row["item"] for row in rows] == ITEMS
    assert list(rows[0]) == ["item", "label_1", "probability_1", "label_2", "probability_2"]
    records = json.loads(found.json())
    assert records == found.records()
    for row, record, labels, shares in zip(rows, records, found.labels, found.probabilities, strict=True):
        assert [row["label_1"], row["label_2"]] == labels == [each["label"] for each in record["top"]]
        assert [float(row["probability_1"]), float(row["probability_2"])] == shares
        assert (record["label"], record["probability"]) == (labels[0], shares[0])
    assert found.labels == [["été", "bag"], ["T-shirt/top", "bag"]]
    assert "été" in found.json()


def test_text_is_aligned():
    lines = str(engine.predictions(LOGITS, ITEMS, NAMES, top=2)).splitlines()
    assert lines[0] == "a.png            été          50.0%  bag          30.0%"
    assert len({line.index("%") for line in lines}) == 1
    assert str(engine.predictions(np.zeros([0, 3]), [], NAMES)) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LOGITS, ["one"]), r"^outputs must be logits \[1, classes\], one row an item, found \[2, 3\]$"),
        ((LOGITS[0], ITEMS), r"^outputs must be logits \[2, classes\]"),
        ((LOGITS, ITEMS, ["a", "b"]), r"^the model has 3 outputs, but there are 2 names of classes$"),
        ((LOGITS, ITEMS, NAMES, 0), r"^top must be at least 1, got 0$"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        engine.predictions(*arguments)
