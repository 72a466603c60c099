"""Policies by the name that a person types."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, cast

from keepsight.core.errors import InputError
from keepsight.memory.dam4sam import DAM4SAM
from keepsight.memory.mosam import MoSAM
from keepsight.memory.policy import MemoryLimits, Policy, ReferenceRules
from keepsight.memory.sam2 import SAM2
from keepsight.memory.sam2long import SAM2Long
from keepsight.memory.sam3 import SAM3
from keepsight.memory.sam3_dms import SAM3DMS
from keepsight.memory.samurai import SAMURAI
from keepsight.memory.settings import PolicySettings

PolicyFactory = Callable[[MemoryLimits, ReferenceRules], Policy]

# One line a policy, in the order in which they are shown.
POLICIES: dict[str, type[PolicySettings]] = {
    settings.name: settings for settings in (SAM2, SAM2Long, SAM3, SAM3DMS, MoSAM, SAMURAI, DAM4SAM)
}


def policy_factory(
    policy: str | type[Policy] | type[PolicySettings] | PolicyFactory, options: dict[str, Any] | None = None
) -> PolicyFactory:
    """A maker of policy instances (one an object).

    Args:
        policy: a name, settings (the class or an instance), a policy class of your own, or a maker of policies.
        options: single values by name, texts included, on top of it.

    Raises:
        InputError: unknown policy or option, or a value the policy refuses.
    """
    options = dict(options or {})
    if isinstance(policy, str):
        if policy not in POLICIES:
            close = difflib.get_close_matches(policy, POLICIES, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" There are: {', '.join(sorted(POLICIES))}."
            raise InputError(f"There is no memory policy '{policy}'.{hint}")
        return POLICIES[policy].of(options)
    if isinstance(policy, PolicySettings):
        return policy.but(options)
    if isinstance(policy, type):
        return (
            policy.of(options) if issubclass(policy, PolicySettings) else _of_class(cast(type[Policy], policy), options)
        )
    if options:
        raise InputError(f"Options ({', '.join(options)}) cannot be given to a maker of policies; put them into it.")
    return policy


def _of_class(cls: type[Policy], options: dict[str, Any]) -> PolicyFactory:
    """A policy of somebody's own: it has the settings of the policy it extends, or parameters in its constructor."""
    own = set(inspect.signature(cls).parameters) - {"limits", "rules", "settings", "args", "kwargs"}
    if cls.settings_type is not None and not own:
        settings = cls.settings_type.of(options)
        return lambda limits, rules: cls(limits, rules, settings)
    for name in options:
        if name not in own:
            raise InputError(f"Policy '{cls.name}' has no option '{name}'; it has: {', '.join(sorted(own)) or 'none'}.")

    def make(limits: MemoryLimits, rules: ReferenceRules) -> Policy:
        try:
            return cls(limits, rules, **options)
        except (TypeError, ValueError) as error:
            raise InputError(f"Policy '{cls.name}': {error}.") from error

    return make
