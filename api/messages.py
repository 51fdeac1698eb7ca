"""Facts and answers as messages, and back: by their fields' names, which are the same on both sides.

How a field is carried over follows from what it is on either side:

- ``None`` is a field that is not set;
- a time, or whole microseconds of which 0 is none, is a ``Timestamp``;
- an enum, or a text that holds one of an enum's words, is an enum whose values begin with its own name;
- a tuple is ``repeated``, and a mapping a ``map``; a dataclass is a message of its own;
- a tuple of fixed length is a message with as many fields, and what may be None in a list one with the field ``value``.

What is to be done for a dataclass and a message is worked out once.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from google.protobuf.message import Message

from deedbook.api.moments import datetime_of, micros_of, timestamp_of_datetime, timestamp_of_micros
from deedbook.events.errors import InvalidInput

M = TypeVar("M", bound=Message)
D = TypeVar("D")

# Protobuf's own classes of these have two homes, which its types tell apart and its code doesn't.
Descriptor: TypeAlias = Any
FieldDescriptor: TypeAlias = Any
EnumDescriptor: TypeAlias = Any

# What a text says where an enum's value is its zero value.
_ZERO_TEXTS = {"Direction": "unspecified", "Outcome": "unknown", "Decision": ""}
# What the queries' modules name for type checkers alone.
_NAMES = {"datetime": datetime, "Mapping": Mapping, "Iterable": Iterable}


@dataclass(frozen=True, slots=True)
class _Carried:
    """How one field is carried: ``out`` makes what a message's constructor takes, ``back`` what a dataclass's does.

    None: as it is. ``presence``: a field that is not set is None.
    """

    name: str
    out: Callable[[Any], Any] | None
    back: Callable[[Any], Any] | None
    presence: bool = False


def to_message(value: object, message_class: type[M]) -> M:
    """Return a dataclass's value as a message, whose fields are named as its own.

    Fields that the message doesn't have are left out. Raises InvalidInput where a value can't be carried: a number
    beyond 64 bits, a text that is no Unicode.
    """
    try:
        return message_class(**_fields_of(value, message_class.DESCRIPTOR))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"this {type(value).__name__} can't be sent: {error}") from error


def from_message(message: Message, cls: type[D], **given: object) -> D:
    """Return a message as a dataclass, whose fields are named as its own.

    ``given``: the values of fields that the message doesn't have, or has otherwise. Raises InvalidInput where the
    message holds what the dataclass can't: a time out of range, an enum's value that this release doesn't know.
    """
    return cls(**_values_of(message, cls, message.DESCRIPTOR, frozenset(given)), **given)


def carried_names(cls: type, descriptor: Descriptor) -> tuple[str, ...]:
    """Return the names of the fields that both sides have; TypeError where one can't be carried."""
    return tuple(field.name for field in _plan(cls, descriptor))


def _fields_of(value: object, descriptor: Descriptor) -> dict[str, Any]:
    cls: type = type(value)
    plan, get = _outward(cls, descriptor)
    values = get(value)
    return {
        field.name: one if field.out is None or one is None else field.out(one)
        for field, one in zip(plan, values, strict=True)
    }


def _values_of(
    message: Message, cls: type, descriptor: Descriptor, left_out: frozenset[str] = frozenset()
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in _plan(cls, descriptor):
        name = field.name
        if name in left_out:
            continue
        if field.presence and not message.HasField(name):
            values[name] = None
        else:
            value = getattr(message, name)
            values[name] = value if field.back is None else field.back(value)
    return values


@cache
def _outward(
    cls: type, descriptor: Descriptor
) -> tuple[tuple[_Carried, ...], Callable[[Any], tuple[Any, ...]]]:
    plan = _plan(cls, descriptor)
    get = attrgetter(*(field.name for field in plan))
    return plan, get if len(plan) > 1 else lambda value: (get(value),)


@cache
def _plan(cls: type, descriptor: Descriptor) -> tuple[_Carried, ...]:
    """Return how the fields that both sides have are carried."""
    hints = get_type_hints(cls, localns=_NAMES)
    wanted = descriptor.fields_by_name
    return tuple(
        _carried(hints[field.name], wanted[field.name]) for field in fields(cls) if field.name in wanted
    )


def _carried(hint: Any, field: FieldDescriptor) -> _Carried:  # noqa: ANN401 - any annotation
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _Carried(name, dict, dict)
    if field.is_repeated:
        return _carried_list(hint, field)
    hint, optional = _without_none(hint)
    if field.message_type is not None:
        return _carried_message(hint, field, optional=optional)
    if field.enum_type is not None:
        return _carried_enum(hint, field, optional=optional)
    if optional and not field.has_presence:
        raise TypeError(f"{field.full_name} must be optional: the {name} it carries may be None")
    return _Carried(name, None, None, presence=optional)


def _without_none(hint: Any) -> tuple[Any, bool]:  # noqa: ANN401 - any annotation
    """Return an annotation without its None, and whether it had one."""
    if get_origin(hint) not in {Union, types.UnionType}:
        return hint, False
    (rest,) = (part for part in get_args(hint) if part is not types.NoneType)
    return rest, True


def _carried_message(hint: Any, field: FieldDescriptor, *, optional: bool) -> _Carried:  # noqa: ANN401
    descriptor, name = field.message_type, field.name
    if descriptor.full_name != "google.protobuf.Timestamp":
        outward, back = _message_carriers(hint, descriptor)
        return _Carried(name, outward, back, presence=optional)
    if hint is int:
        return _Carried(name, timestamp_of_micros, lambda value: micros_of(value, name))
    return _Carried(name, timestamp_of_datetime, lambda value: datetime_of(value, name), presence=optional)


def _message_carriers(
    hint: Any,  # noqa: ANN401 - any annotation
    descriptor: Descriptor,
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return how a value that is a message of its own is carried: a dataclass, or a tuple of fixed length."""
    if get_origin(hint) is tuple:
        names = tuple(field.name for field in descriptor.fields)
        return (
            lambda value: dict(zip(names, value, strict=True)),
            lambda message: tuple(getattr(message, name) for name in names),
        )
    return (
        lambda value: _fields_of(value, descriptor),
        lambda message: hint(**_values_of(message, hint, descriptor)),
    )


def _carried_list(hint: Any, field: FieldDescriptor) -> _Carried:  # noqa: ANN401 - any annotation
    items, *_ = get_args(hint)
    item, optional = _without_none(items)
    if field.message_type is None:
        return _Carried(field.name, None, tuple)
    if optional:
        return _Carried(
            field.name,
            lambda values: [{"value": value} for value in values],
            lambda messages: tuple(one.value if one.HasField("value") else None for one in messages),
        )
    outward, back = _message_carriers(item, field.message_type)
    return _Carried(
        field.name,
        lambda values: [outward(value) for value in values],
        lambda messages: tuple([back(message) for message in messages]),
    )


def _carried_enum(hint: Any, field: FieldDescriptor, *, optional: bool) -> _Carried:  # noqa: ANN401
    enum = field.enum_type
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _carried_members(hint, field)
    texts = {number: word.lower() for number, word in _words(enum).items()}
    zero = None if optional else _ZERO_TEXTS[enum.name]
    texts_or_zero: dict[int, str | None] = {**texts, 0: zero}
    numbers = {text: number for number, text in texts.items()}
    # A word that a later release added is no reason to answer nothing at all.
    return _Carried(
        field.name, lambda text: numbers.get(text, 0), lambda number: texts_or_zero.get(number, zero)
    )


def _carried_members(members: type[StrEnum], field: FieldDescriptor) -> _Carried:
    """Return how an enum of ours is carried: by its members' names, and its zero member as the zero value."""
    words = {word: number for number, word in _words(field.enum_type).items()}
    numbers = {member: words.get(member.name, 0) for member in members}
    known = {number: member for member, number in numbers.items()}

    def back(number: int) -> StrEnum:
        # A fact is not to be misread: what isn't known is not taken for another.
        if number in known:
            return known[number]
        what = f"the value {number}, which this release does not know" if number else "no value"
        raise InvalidInput(f"{field.name} has {what}")

    return _Carried(field.name, numbers.__getitem__, back)


def _words(enum: EnumDescriptor) -> dict[int, str]:
    """Return the names of an enum's values without the enum's own name before them."""
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum.name)[1:] + "_"
    return {value.number: value.name.removeprefix(prefix) for value in enum.values}
