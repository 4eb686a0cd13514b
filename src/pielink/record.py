"""Records, named tuples and enumerations that cost little to declare.

The standard library compiles texts for each dataclass and each typing.NamedTuple, and makes each
member of an enumeration in many steps. A class takes it up to a millisecond: those of this package
together cost a fifth of the time that linking a small program takes. Here methods are closures, and
making a class takes microseconds.
"""

from __future__ import annotations

from operator import itemgetter

from pielink.hints import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class _Fresh:
    """A default that is made anew for each object."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def fresh(*, factory: Callable[[], T]) -> T:
    """A default for a field: what `factory` gives, such as an empty list, for each object anew."""
    default: Any = _Fresh(factory)
    return default  # type: ignore[no-any-return]


class _RecordType(type):
    """Makes classes of annotated fields records.

    The class gets __slots__, __init__ (by position or keyword; it calls __post_init__ if there is
    one), ==, repr and pickling over all fields. A record class has no base but object. Defaults
    must be immutable, or made by `fresh`.
    """

    _more: dict[str, Any]

    def __new__(mcs, title: str, bases: tuple[type, ...], own: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(mcs, title, bases, own)
        names = tuple(own.get("__annotations__", ()))
        defaults = {name: own.pop(name) for name in names if name in own}
        methods = {
            "__init__": _initializer(title, names, defaults, "__post_init__" in own),
            "__eq__": _equal,
            "__repr__": _repr,
            "__reduce__": _reduce,
            "__match_args__": names,
        }
        more: Any = bases[0]
        return type(title, (), methods | more._more | own | {"__slots__": names})


def _initializer(
    title: str, names: tuple[str, ...], defaults: dict[str, Any], checks: bool
) -> Callable[..., None]:
    """__init__ for these fields."""
    assign, gathered = object.__setattr__, _gatherer(title, names, defaults)

    def initialize(self: Any, *values: Any, **named: Any) -> None:
        if named or len(values) != len(names):
            values = gathered(values, named)
        for name, value in zip(names, values, strict=True):
            assign(self, name, value)
        if checks:
            self.__post_init__()

    return initialize


def _gatherer(
    title: str, names: tuple[str, ...], defaults: dict[str, Any]
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]:
    """How to get the values of all fields, in order, from arguments; TypeError if they do not fit.

    Fields with defaults are the last ones.
    """
    required, rest = len(names) - len(defaults), tuple(defaults.values())
    anew = any(type(value) is _Fresh for value in rest)

    def gathered(values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        if named:
            values = _with_named(title, names, defaults, values, named)
        elif required <= len(values) <= len(names):
            values += rest[len(values) - required :]
        else:
            _refuse_arguments(title, names[len(values) : required], names)
        return tuple(v.make() if type(v) is _Fresh else v for v in values) if anew else values

    return gathered


def _with_named(
    title: str,
    names: tuple[str, ...],
    defaults: dict[str, Any],
    values: tuple[Any, ...],
    named: dict[str, Any],
) -> tuple[Any, ...]:
    fields = defaults | dict(zip(names, values, strict=False)) | named
    twice = not named.keys().isdisjoint(names[: len(values)])
    lacking = tuple(name for name in names if name not in fields)
    if lacking or twice or len(fields) > len(names) or len(values) > len(names):
        _refuse_arguments(title, lacking, names)
    return tuple(map(fields.__getitem__, names))


def _refuse_arguments(title: str, lacking: tuple[str, ...], names: tuple[str, ...]) -> NoReturn:
    if lacking:
        raise TypeError(f"{title} needs {', '.join(lacking)}")
    raise TypeError(f"{title} takes each of {', '.join(names)} at most once")


def _values(item: Any) -> tuple[Any, ...]:
    return tuple(getattr(item, name) for name in item.__slots__)


def _refuse(self: Any, name: str, *_: Any) -> None:
    raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name}")


def _equal(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({shown})"


def _reduce(self: Any) -> tuple[type[Any], tuple[Any, ...]]:
    return type(self), _values(self)


def fields(item: Any) -> tuple[str, ...]:
    """The names of the fields of a record, or of a record class, in order."""
    names: tuple[str, ...] = item.__slots__
    return names


def replace(item: T, **changes: Any) -> T:
    """A copy of a record with some fields changed; TypeError for an unknown field."""
    return type(item)(**{name: getattr(item, name) for name in fields(item)} | changes)


class _TupleType(type):
    """Makes classes of annotated fields subclasses of tuple, as typing.NamedTuple does."""

    def __new__(mcs, title: str, bases: tuple[type, ...], own: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(mcs, title, bases, own)
        names = tuple(own.get("__annotations__", ()))
        defaults = {name: own.pop(name) for name in names if name in own}
        gathered = _gatherer(title, names, defaults)

        def new(cls: type, *values: Any, **named: Any) -> Any:
            if named or len(values) != len(names):
                values = gathered(values, named)
            return tuple.__new__(cls, values)

        methods: dict[str, Any] = {
            "__new__": new,
            "__repr__": _tuple_repr,
            "__getnewargs__": tuple,
            "__match_args__": names,
            "__slots__": (),
            "_fields": names,
            "_replace": _tuple_replace,
            "_asdict": _tuple_dict,
        }
        columns = {name: property(itemgetter(index)) for index, name in enumerate(names)}
        return type(title, (tuple,), methods | columns | own)


def _tuple_dict(self: Any) -> dict[str, Any]:
    return dict(zip(self._fields, self, strict=True))


def _tuple_replace(self: Any, **changes: Any) -> Any:
    return type(self)(**_tuple_dict(self) | changes)


def _tuple_repr(self: Any) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in _tuple_dict(self).items())
    return f"{type(self).__name__}({shown})"


class _MemberType(type):
    """Makes classes of named numbers or texts subclasses of int or str, as enum's are."""

    _by_name: dict[str, Any]
    _by_value: dict[Any, Any]

    def __new__(mcs, title: str, bases: tuple[type, ...], own: dict[str, Any]) -> Any:
        made: Any = super().__new__(mcs, title, bases, own)
        made._by_name, made._by_value = {}, {}
        kind = made.__mro__[-2]  # int or str
        for name, value in own.items():
            if type(value) is kind and not name.startswith("_"):
                member: Any = kind.__new__(made, value)
                member.name, member.value = name, value
                made._by_name[name] = made._by_value.setdefault(value, member)
                setattr(made, name, member)
        return made

    def __call__(cls, value: Any) -> Any:
        try:
            return cls._by_value[value]
        except KeyError:
            raise ValueError(f"{value!r} is not a valid {cls.__name__}") from None

    def __getitem__(cls, name: str) -> Any:
        return cls._by_name[name]

    def __iter__(cls) -> Iterator[Any]:
        return iter(cls._by_value.values())

    def __len__(cls) -> int:
        return len(cls._by_value)


def _member_repr(self: Any) -> str:
    return f"<{type(self).__name__}.{self.name}: {self.value!r}>"


def _member_reduce(self: Any) -> tuple[type[Any], tuple[Any]]:
    return type(self), (self.value,)


def _member_text(self: Any) -> str:
    return str(self.value)


if TYPE_CHECKING:
    from enum import IntEnum as IntEnum
    from enum import StrEnum as StrEnum
    from typing import NamedTuple as NamedTuple

    @dataclass_transform(frozen_default=True, field_specifiers=(fresh,))
    class Record:
        """The base of records that are immutable and have a hash.

        Setting a field raises AttributeError.
        """

    @dataclass_transform(field_specifiers=(fresh,))
    class Mutable:
        """The base of records whose fields can be set; they have no hash."""

else:
    _frozen = {"__setattr__": _refuse, "__delattr__": _refuse, "__hash__": _hash}
    Record = _RecordType("Record", (), {"_more": _frozen})
    Mutable = _RecordType("Mutable", (), {"_more": {"__hash__": None}})
    NamedTuple = _TupleType("NamedTuple", (), {})
    _methods = {"__repr__": _member_repr, "__reduce__": _member_reduce}
    IntEnum = _MemberType("IntEnum", (int,), _methods | {"__str__": int.__repr__})
    StrEnum = _MemberType("StrEnum", (str,), _methods | {"__str__": _member_text})
