"""Names of classes: which are the same, which nobody uses."""

import numpy as np

from src.data.annotations.class_names import as_model_spells, used_classes


def classes(names: list[str], classes_of_boxes: list[int], files: list[int]) -> tuple[list[str], list[int], list[str]]:
    notes: list[str] = []
    found, ids = used_classes(names, np.array(classes_of_boxes), np.array(files), notes)
    return found, ids.tolist(), notes


def test_unused_classes_are_left_out() -> None:
    found = classes(["animals", "cat", "dog"], [2, 1, 2], [0, 0, 0])
    assert found == (["cat", "dog"], [1, 0, 1], ["Classes that no box has are left out: animals."])


def test_one_class_in_several_spellings() -> None:
    names = ["Caf\u00e9", "Cafe\u0301 ", "red  car", "RED car"]
    found, ids, notes = classes(names, [0, 1, 2, 2, 3], [0, 0, 0, 0, 1])
    assert found == ["Caf\u00e9", "red car"] and ids == [0, 0, 1, 1, 1] and len(notes) == 2
    assert notes[1] == "'red  car' and 'RED car' are one class, 'red car'."


def test_capital_letters_tell_classes_apart_within_a_file() -> None:
    found, ids, notes = classes(["a", "A"], [0, 1], [7, 7])
    assert found == ["a", "A"] and ids == [0, 1] and "different classes" in notes[0]


def test_a_trained_model_may_write_them_otherwise() -> None:
    notes: list[str] = []
    assert as_model_spells(["rbc", "WBC", "b"], ["RBC", "WBC", "B", "b"], notes) == ["RBC", "WBC", "b"]
    assert notes == ["The class 'rbc' is the model's 'RBC'."]
    assert as_model_spells(["rbc"], None, []) == ["rbc"]
