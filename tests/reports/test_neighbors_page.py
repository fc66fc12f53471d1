"""The neighbour sections of a page, from values given here."""

import numpy as np
import pytest

from dml.reports.neighbors_page import Suspect, confusion_section, hubness_section, suspects_section


def test_the_most_frequent_mistakes_come_first_and_right_answers_are_not_listed():
    shares = np.array([[5.0, 1.0, 0.0], [0.0, 6.0, 0.0], [0.5, 2.5, 3.0]])
    _, listed = confusion_section(shares, ["ash", "birch", "oak"], k=5)
    rows = listed.split("<tr>")[2:]
    assert ["2.5 of 6" in rows[0], "1 of 6" in rows[1], "0.5 of 6" in rows[2]] == [True] * 3
    assert len(rows) == 3


def test_without_a_mistake_the_section_says_so():
    assert "No image is taken for another class" in confusion_section(np.eye(2), ["ash", "birch"], k=1)[1]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_suspect_shows_itself_and_its_neighbours(read_page, channels):
    pictures = np.zeros((4, channels, 5, 5), np.uint8)
    seen = Suspect("a.png", "ash", "oak", 9, pictures)
    _, table = suspects_section([seen, Suspect("b.png", "ash", "<oak>", 8)], k=10)
    reader = read_page(table)
    assert reader.tags.count("img") == 4
    assert {"oak (9 of 10)", "<oak> (8 of 10)"} <= set(reader.text)


def test_of_many_suspects_the_first_are_listed_and_the_rest_counted():
    told, table, rest = suspects_section([Suspect(f"{i}.png", "ash", "oak", 10) for i in range(75)], k=10)
    assert told.startswith("<p>75 held-back images")
    assert "59.png" in table
    assert "60.png" not in table
    assert "and 15 more" in rest


def test_hubs_are_told_in_numbers():
    told = hubness_section(np.array([7, 2, 0, 0]), num_queries=9, k=1)[1]
    assert "1 nearest of 7 of 9 queries; 2 of 4 references are never found" in told
