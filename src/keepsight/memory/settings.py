"""A policy's parameters: one frozen dataclass a policy.

An instance is a maker of policies, so it is what people hand over::

    keepsight.load("sam2.1-large", policy=keepsight.SAM2(stride=2))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from keepsight.core import Options
from keepsight.memory.policy import MemoryLimits, Policy, ReferenceRules


@dataclass(frozen=True)
class Summary:
    """What a person wants to know before choosing a policy; one or two sentences each."""

    idea: str
    choose: str
    cost: str
    paper: str


@dataclass(frozen=True)
class PolicySettings(Options):
    """Parameters of a policy, checked when they are made. An instance makes policies, one an object.

    Class attributes:
        policy: the policy it makes.
        name: what a person types; the policy's.
        title: the name as it is written.
        summary: what a person wants to know before choosing it.
    """

    policy: ClassVar[type[Policy]]
    title: ClassVar[str]
    summary: ClassVar[Summary]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "policy" in vars(cls):
            cls.name = cls.policy.name
            if "settings_type" not in vars(cls.policy):
                cls.policy.settings_type = cls

    def __call__(self, limits: MemoryLimits, rules: ReferenceRules) -> Policy:
        return self.policy(limits, rules, self)

    @classmethod
    def _called(cls) -> str:
        return f"Policy '{cls.name}'"
