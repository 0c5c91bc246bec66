"""Counted things in messages."""

from src.settings.plurals import agreeing, number_of


def test_words_go_with_their_count() -> None:
    assert number_of(1, "image") == "1 image" and number_of(1000, "box", "boxes") == "1,000 boxes"
    text = "[box that lies|boxes that lie] outside, in a [1, 2] list"
    assert agreeing(1, text) == "box that lies outside, in a [1, 2] list"
    assert agreeing(0, text) == agreeing(2, text) == "boxes that lie outside, in a [1, 2] list"
