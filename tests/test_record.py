"""Records behave as dataclasses with slots do."""

from __future__ import annotations

import dataclasses
import enum
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pielink.record import IntEnum, Mutable, Record, StrEnum, fields, fresh, replace


class Point(Record):
    """A point."""

    x: int
    y: int = 2

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Twin:
    x: int
    y: int = 2


@given(st.lists(st.integers(0, 3), max_size=2), st.dictionaries(st.sampled_from("xyz"), st.just(1)))
def test_records_take_the_arguments_that_dataclasses_take(
    values: list[int], named: dict[str, int]
) -> None:
    def outcome(kind: Any) -> Any:
        try:
            made = kind(*values, **named)
        except TypeError:
            return TypeError
        return made.x, made.y

    assert outcome(Point) == outcome(Twin)


def test_a_record_is_immutable_and_has_no_dict() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="Point is immutable: cannot set x"):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert not hasattr(point, "__dict__")


def test_equality_hash_repr_and_pickle() -> None:
    assert Point(1, 2) == Point(1)
    assert Point(1) != Point(2)
    other: object = Twin(1)
    assert Point(1) != other
    assert len({Point(1), Point(1, 2), Point(3)}) == 2
    assert repr(Point(1)) == "Point(x=1, y=2)"
    assert pickle.loads(pickle.dumps(Point(5))) == Point(5)
    match Point(1, 7):
        case Point(x, y):
            assert (x, y) == (1, 7)


def test_methods_doc_and_checks_stay() -> None:
    assert Point(1).sum == 3
    assert Point.__doc__ == "A point."
    with pytest.raises(ValueError, match="negative"):
        Point(-1)


def test_replace_and_fields() -> None:
    assert fields(Point) == fields(Point(1)) == ("x", "y")
    assert replace(Point(1), y=9) == Point(1, 9)
    with pytest.raises(TypeError):
        replace(Point(1), z=1)
    with pytest.raises(ValueError, match="negative"):
        replace(Point(1), x=-1)


class Bag(Mutable):
    name: str
    items: list[int] = fresh(factory=list)


def test_fields_of_a_mutable_record_can_be_set_and_fresh_defaults_are_not_shared() -> None:
    one, other = Bag("a"), Bag("a")
    one.items.append(1)
    one.name = "b"
    assert (one.name, one.items, other.items) == ("b", [1], [])
    assert other == Bag("a", []) != one
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(AttributeError):
        one.more = 1  # type: ignore[attr-defined]


class Pace(StrEnum):
    SLOW = "slow"
    FAST = "fast"


class Size(IntEnum):
    SMALL = 1
    LARGE = 7


@pytest.mark.parametrize(("kind", "twin"), [(Pace, enum.StrEnum), (Size, enum.IntEnum)])
def test_enumerations_do_what_those_of_enum_do(kind: Any, twin: Any) -> None:
    other = twin(kind.__name__, {one.name: one.value for one in kind})
    for ours, theirs in zip(kind, other, strict=True):
        assert (ours.name, ours.value, str(ours), repr(ours), f"{ours}") == (
            *(theirs.name, theirs.value, str(theirs), repr(theirs), f"{theirs}"),
        )
        assert ours == theirs
        assert hash(ours) == hash(theirs)
        assert kind(ours.value) is ours is kind[ours.name]
        assert pickle.loads(pickle.dumps(ours)) is ours
    assert len(kind) == 2
    with pytest.raises(ValueError, match=f"'none' is not a valid {kind.__name__}"):
        kind("none")
