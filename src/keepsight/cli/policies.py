"""`keepsight policies`: the memory rules that can be chosen, and their options."""

from __future__ import annotations


def policies() -> None:
    """List the memory policies and their options (for --policy and --policy-option)."""
    from keepsight.cli.show import out
    from keepsight.memory import POLICIES

    console = out()
    for name, policy in POLICIES.items():
        console.print(name, style="bold", markup=False)
        for line in policy.summary.strip().splitlines():
            console.print(f"  {line.strip()}", markup=False)
        for option in policy.options:
            console.print(f"  {option.name}={option.default}: {option.meaning}", markup=False)
