"""What an object remembers, and the policies that decide it. Needs no weights."""

from keepsight.memory.dam4sam import DAM4SAM, DAM4SAMPolicy
from keepsight.memory.mosam import MoSAM, MoSAMPolicy
from keepsight.memory.policy import (
    Candidates,
    MemoryLimits,
    Picture,
    PointerRead,
    Policy,
    ProposedPrompts,
    ReferenceRules,
    RoleChange,
    Selection,
    SpatialRead,
    Step,
    Survivor,
    WritePlan,
    best_candidate,
    with_scales,
)
from keepsight.memory.records import FrameRecord, ObjectMemory, Role
from keepsight.memory.registry import POLICIES, PolicyFactory, policy_factory
from keepsight.memory.sam2 import SAM2, SAM2Policy, select_conditioning
from keepsight.memory.sam2long import SAM2Long, SAM2LongPolicy
from keepsight.memory.sam3 import SAM3, SAM3Policy
from keepsight.memory.sam3_dms import SAM3DMS, SAM3DMSPolicy
from keepsight.memory.samurai import SAMURAI, SAMURAIPolicy
from keepsight.memory.settings import PolicySettings, Summary

__all__ = [
    "DAM4SAM",
    "POLICIES",
    "SAM2",
    "SAM3",
    "SAM3DMS",
    "SAMURAI",
    "Candidates",
    "DAM4SAMPolicy",
    "FrameRecord",
    "MemoryLimits",
    "MoSAM",
    "MoSAMPolicy",
    "ObjectMemory",
    "Picture",
    "PointerRead",
    "Policy",
    "PolicyFactory",
    "PolicySettings",
    "ProposedPrompts",
    "ReferenceRules",
    "Role",
    "RoleChange",
    "SAM2Long",
    "SAM2LongPolicy",
    "SAM2Policy",
    "SAM3DMSPolicy",
    "SAM3Policy",
    "SAMURAIPolicy",
    "Selection",
    "SpatialRead",
    "Step",
    "Summary",
    "Survivor",
    "WritePlan",
    "best_candidate",
    "policy_factory",
    "select_conditioning",
    "with_scales",
]
