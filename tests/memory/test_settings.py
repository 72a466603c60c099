"""Parameters of policies, and every way in which a policy is named."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

import keepsight
from keepsight.core import InputError, option
from keepsight.memory import (
    POLICIES,
    SAM2,
    MemoryLimits,
    Policy,
    PolicySettings,
    ReferenceRules,
    SAM2Policy,
    Summary,
    policy_factory,
)

LIMITS, RULES = MemoryLimits(7, 16), ReferenceRules()


class OddPolicy(SAM2Policy):
    name = "odd"


@dataclass(frozen=True)
class Odd(PolicySettings):
    policy = OddPolicy
    title = "Odd"
    summary = Summary("idea", "choose", "cost", "paper")

    stride: int = option(2, "a", effect="b", low=1)
    max_conditioning: int | None = option(None, "a", effect="b", low=1)


def test_messages_name_the_policy():
    with pytest.raises(InputError, match=r"^odd: stride must be 1 or more, got 0\."):
        Odd(stride=0)
    with pytest.raises(
        InputError,
        match=r"^Policy 'odd' has no option 'strid'; it has: stride, max_conditioning\. Did you mean 'stride'",
    ):
        Odd.of({"strid": 1})


class Own(OddPolicy):
    name = "own"


class Bare(Own):
    """A policy with parameters in its own constructor."""

    name = "bare"

    def __init__(self, limits, rules, *, depth=1):
        super().__init__(limits, rules)
        if depth < 1:
            raise ValueError("depth must be 1 or more")
        self.depth = depth


def test_every_way_to_name_a_policy():
    assert policy_factory("sam2", {"stride": "4"}) == SAM2(stride=4)
    assert policy_factory(SAM2) == policy_factory("sam2") == SAM2()
    assert policy_factory(SAM2(stride=3), {"max_conditioning": 2}) == SAM2(stride=3, max_conditioning=2)
    made = policy_factory(Odd(stride=5))(LIMITS, RULES)
    assert isinstance(made, OddPolicy)
    assert (made.settings, made.stride, made.limits, made.rules) == (Odd(stride=5), 5, LIMITS, RULES)
    own = policy_factory(Own, {"stride": 7})(LIMITS, RULES)
    assert isinstance(own, Own)
    assert own.settings == Odd(stride=7)
    assert Own(LIMITS).settings == Odd()
    assert policy_factory(Bare, {"depth": 2})(LIMITS, RULES).depth == 2
    with pytest.raises(InputError, match="'bare': depth must be 1 or more"):
        policy_factory(Bare, {"depth": 0})(LIMITS, RULES)
    with pytest.raises(InputError, match="'bare' has no option 'dept'; it has: depth"):
        policy_factory(Bare, {"dept": 0})

    def maker(limits, rules):
        return Own(limits, rules)

    assert policy_factory(maker) is maker
    with pytest.raises(InputError, match="cannot be given to a maker"):
        policy_factory(maker, {"stride": 2})


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_documented(name):
    settings = POLICIES[name]
    assert settings.name == settings.policy.name == name
    assert settings.policy.settings_type is settings
    assert issubclass(settings.policy, Policy)
    assert getattr(keepsight, settings.__name__) is settings
    assert settings.__name__ in keepsight.__all__
    for field in fields(settings.summary):
        text = getattr(settings.summary, field.name)
        assert text.endswith("."), field.name
        assert len(text) < 500, field.name
    for row in settings.describe():
        assert all((row.meaning, row.effect, row.range)), row.name
        assert not row.meaning.endswith("."), row.name
    made = settings()(LIMITS, RULES)
    assert type(made) is settings.policy
    assert made.settings == settings()
