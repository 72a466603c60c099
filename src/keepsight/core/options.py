"""Parameters that people set: one frozen dataclass a thing, with defaults, ranges, and what turning each one up does."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from keepsight.core.errors import InputError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
_TRUE, _FALSE, _NONE = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("none", "null", "")


@dataclass(frozen=True)
class Option:
    """One parameter as it is shown to people; ``effect`` begins with "up: " or "on: " unless words are to be chosen."""

    name: str
    default: str
    range: str
    meaning: str
    effect: str


@dataclass(frozen=True)
class _Rule:
    """What an option may be."""

    meaning: str
    effect: str
    low: float | None
    high: float | None
    low_open: bool
    high_open: bool
    choices: tuple[str, ...]

    def admits(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, (bool, str)):
            return True
        if not math.isfinite(value):
            return False
        above = self.low is None or (value > self.low if self.low_open else value >= self.low)
        below = self.high is None or (value < self.high if self.high_open else value <= self.high)
        return above and below

    def range(self, kind: type) -> str:
        """``[0, 1]``, ``1 or more``, ``a, b or c``."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if self.low is not None and self.high is not None:
            opening, closing = "(" if self.low_open else "[", ")" if self.high_open else "]"
            return f"{opening}{self.low:g}, {self.high:g}{closing}"
        if self.low is not None:
            return f"above {self.low:g}" if self.low_open else f"{self.low:g} or more"
        if self.high is not None:
            return f"below {self.high:g}" if self.high_open else f"{self.high:g} or less"
        return _KINDS[kind]

    def demand(self, kind: type) -> str:
        """The range as the end of "must be ..."."""
        text = self.range(kind)
        return f"in {text}" if text[0] in "[(" else text


def option(
    default: Any,
    meaning: str,
    *,
    effect: str,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    high_open: bool = False,
    choices: Sequence[str] = (),
) -> Any:
    """A field of :class:`Options`; its annotation says the kind (int, float, bool, str, each also ``| None``).

    Args:
        default: value when nothing is said.
        meaning: what it is, and what ``None`` stands for where that is allowed.
        effect: what turning it up (or on) does; of words, what each does.
        low, high: ends of the range, ``None`` for open; they belong to it unless ``low_open``, ``high_open``.
        choices: the words that may be said.
    """
    rule = _Rule(meaning, effect, low, high, low_open, high_open, tuple(choices))
    return dataclasses.field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Options(ABC):
    """Parameters that are checked when they are made; a subclass declares them with :func:`option`.

    Class attributes:
        name: how messages name them.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for item, rule, kind, may_be_none in self._rules():
            value = getattr(self, item.name)
            if value is None and may_be_none:
                continue
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            or_none = "none or " if may_be_none else ""
            right_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not right_kind or not rule.admits(value):
                demand = rule.demand(kind) if right_kind or rule.choices else _KINDS[kind]
                given = f"{value:g}" if isinstance(value, float) else f"'{value}'" if isinstance(value, str) else value
                raise InputError(f"{self.name}: {item.name} must be {or_none}{demand}, got {given}.")
            object.__setattr__(self, item.name, value)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Settings with single values given by name, as the command line has them: texts are read by the option's kind.

        Raises:
            InputError: no such option, or a value that is refused.
        """
        return cls(**cls._read(options))

    def but(self, options: Mapping[str, Any]) -> Self:
        """A copy with single values changed; see :meth:`of`."""
        return dataclasses.replace(self, **self._read(options))

    @classmethod
    def describe(cls) -> list[Option]:
        """The options for people, in the order they are declared."""
        rows = []
        for item, rule, kind, may_be_none in cls._rules():
            reach = rule.range(kind) + (" or none" if may_be_none else "")
            turned = "on: " if kind is bool else "" if kind is str else "up: "
            rows.append(Option(item.name, _shown(item.default), reach, rule.meaning, turned + rule.effect))
        return rows

    @classmethod
    def _rules(cls) -> list[tuple[dataclasses.Field[Any], _Rule, type, bool]]:
        hints = get_type_hints(cls)
        rules = []
        for item in dataclasses.fields(cls):
            kinds = get_args(hints[item.name]) if _is_union(hints[item.name]) else (hints[item.name],)
            kind = next(one for one in kinds if one is not type(None))
            rules.append((item, item.metadata["rule"], kind, type(None) in kinds))
        return rules

    @classmethod
    def _read(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        kinds = {item.name: (kind, may_be_none) for item, _, kind, may_be_none in cls._rules()}
        values = {}
        for name, value in options.items():
            if name not in kinds:
                close = difflib.get_close_matches(name, kinds, n=1)
                hint = f" Did you mean '{close[0]}'?" if close else ""
                raise InputError(f"{cls._called()} has no option '{name}'; it has: {', '.join(kinds) or 'none'}.{hint}")
            values[name] = _parsed(value, *kinds[name]) if isinstance(value, str) else value
        return values

    @classmethod
    def _called(cls) -> str:
        return cls.name.capitalize()


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _parsed(text: str, kind: type, may_be_none: bool) -> Any:
    """A text as a value of the kind; the text itself where it is none, for the check to refuse."""
    word = text.strip().lower()
    if may_be_none and word in _NONE:
        return None
    if kind is bool and word in _TRUE + _FALSE:
        return word in _TRUE
    if kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            return text
    return text


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
