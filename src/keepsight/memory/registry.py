"""Policies by the name that a person types."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from keepsight.core.errors import InputError
from keepsight.memory.policy import MemoryLimits, Policy, ReferenceRules
from keepsight.memory.sam2 import SAM2

POLICIES: dict[str, type[Policy]] = {cls.name: cls for cls in (SAM2,)}

PolicyFactory = Callable[[MemoryLimits, ReferenceRules], Policy]


def policy_factory(name: str | type[Policy], options: dict[str, Any] | None = None) -> PolicyFactory:
    """A maker of policy instances (one an object) for a name and its options.

    Raises:
        InputError: unknown policy or option, or a value the policy refuses.
    """
    if isinstance(name, str):
        if name not in POLICIES:
            close = difflib.get_close_matches(name, POLICIES, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" There are: {', '.join(sorted(POLICIES))}."
            raise InputError(f"There is no memory policy '{name}'.{hint}")
        cls = POLICIES[name]
    else:
        cls = name
    options = dict(options or {})
    known = set(inspect.signature(cls).parameters) - {"limits", "rules"}
    for option in options:
        if option not in known:
            raise InputError(
                f"Policy '{cls.name}' has no option '{option}'; it has: {', '.join(sorted(known)) or 'none'}."
            )

    def make(limits: MemoryLimits, rules: ReferenceRules) -> Policy:
        try:
            return cls(limits, rules, **options)
        except (TypeError, ValueError) as error:
            raise InputError(f"Policy '{cls.name}': {error}.") from error

    return make
