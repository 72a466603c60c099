"""The exact state of a session as bytes: safetensors for what the model wrote, JSON for the rest.

Nothing in it is executed on reading, and a digest at the end tells when a byte has changed. A resumed run continues bit for
bit, because the bank is stored as it is instead of being made again from masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from keepsight.core import Box, Mask, Region
from keepsight.core.errors import StoreError
from keepsight.memory import FrameRecord, ObjectMemory, Role
from keepsight.models.backbone import Backbone
from keepsight.tracking.track import FramePrompt, Track

FORMAT = 2
DIGEST_BYTES = 32


class _TensorTable:
    """Names tensors, each piece of memory once: what objects share stays shared."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        # Addresses are only good names while nothing else can be put at them.
        self._alive: list[Tensor] = []

    def put(self, tensor: Tensor | None) -> str | None:
        if tensor is None:
            return None
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if place not in self._names:
            name = f"t{len(self.tensors)}"
            self._names[place] = name
            self._alive.append(tensor)
            # A clone, for safetensors refuses views of one storage.
            self.tensors[name] = tensor.detach().cpu().contiguous().clone()
        return self._names[place]


class _RecordTable:
    """Numbers records, each once, those that are only reached through ``parent`` included."""

    def __init__(self, backbone: Backbone, tensors: _TensorTable) -> None:
        self.packed: list[dict[str, Any]] = []
        self._backbone = backbone
        self._tensors = tensors
        self._numbers: dict[int, int] = {}

    def put(self, record: FrameRecord) -> int:
        chain: list[FrameRecord] = []
        link: FrameRecord | None = record
        # A loop, for a chain of parents may be as long as the video.
        while link is not None and id(link) not in self._numbers:
            chain.append(link)
            link = link.parent
        for item in reversed(chain):
            packed = _pack_record(self._backbone, item, self._tensors)
            packed["parent"] = None if item.parent is None else self._numbers[id(item.parent)]
            self._numbers[id(item)] = len(self.packed)
            self.packed.append(packed)
        return self._numbers[id(record)]


def held_bytes(tracks: Iterable[Track]) -> int:
    """Size of everything that the tracks' banks hold, in bytes; storage that records share is counted once."""
    storages: dict[int, int] = {}
    # Records that are only reached through ``parent`` are held as well.
    waiting = [record for track in tracks for record in (*track.bank, *track.pending.values())]
    seen: set[int] = set()
    while waiting:
        record = waiting.pop()
        if id(record) in seen:
            continue
        seen.add(id(record))
        if record.parent is not None:
            waiting.append(record.parent)
        for tensor in _tensors_in((record.memory, record.pointer, record.logits)):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors of an opaque memory: what a backbone keeps ready beside what it packs takes room as well."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors_in(item)
    elif isinstance(value, dict):
        yield from _tensors_in(list(value.values()))
    elif hasattr(value, "__dict__"):
        yield from _tensors_in(vars(value))


def pack(backbone: Backbone, tracks: list[Track], extra: dict[str, Any]) -> bytes:
    """State of all tracks plus ``extra`` (JSON values)."""
    table = _TensorTable()
    state = {
        "format": FORMAT,
        "model": backbone.info.name,
        "image_size": backbone.info.image_size,
        "extra": extra,
        "tracks": [_pack_track(backbone, track, table) for track in tracks],
    }
    data = save(table.tensors, metadata={"keepsight": json.dumps(state)})
    return data + hashlib.sha256(data).digest()


def _pack_track(backbone: Backbone, track: Track, table: _TensorTable) -> dict[str, Any]:
    records = _RecordTable(backbone, table)
    return {
        "object_id": track.object_id,
        "label": track.label,
        "found": track.found,
        "policy_name": track.policy.name,
        "policy": track.policy.state(),
        "tracked": track.tracked.state(),
        "colours": None if track.colours is None else table.put(torch.from_numpy(track.colours)),
        "prompts": {str(frame): _pack_prompt(prompt) for frame, prompt in track.prompts.items()},
        "pending": [[frame, records.put(record)] for frame, record in track.pending.items()],
        "conditioning": [[frame, records.put(record)] for frame, record in track.bank.conditioning.items()],
        "bank": [[frame, [records.put(record) for record in held]] for frame, held in track.bank.tracked.items()],
        "records": records.packed,
    }


def _pack_prompt(prompt: FramePrompt) -> dict[str, Any]:
    return {
        "points": prompt.points,
        "labels": prompt.labels,
        "box": prompt.box,
        "mask": None if prompt.mask is None else prompt.mask.to_coco(),
    }


def _pack_record(backbone: Backbone, record: FrameRecord, table: _TensorTable) -> dict[str, Any]:
    packed: dict[str, Any] = {
        name: getattr(record, name)
        for name in ("frame", "iou", "object_score", "area_px", "candidate", "slot", "score", "marks")
    }
    packed["role"] = record.role.value
    packed["region"], packed["box"] = record.region, record.box
    packed["extent"], packed["lost"] = record.extent, record.lost
    packed["pointer"] = table.put(record.pointer)
    packed["logits"] = table.put(record.logits)
    if isinstance(record.memory, Tensor):  # a whole mask that still waits to be written
        packed["mask_to_write"] = table.put(record.memory)
    elif record.memory is not None:
        packed["memory"] = {name: table.put(tensor) for name, tensor in backbone.pack_memory(record.memory).items()}
    return packed


def unpack(data: bytes, backbone: Backbone, new_track: Any) -> tuple[list[Track], dict[str, Any]]:
    """Inverse of :func:`pack`.

    Args:
        new_track: makes an empty track with a fresh policy for an object id.

    Raises:
        StoreError: not such a state, of another version, model, input size or policy.
    """
    tensors, state = _read(data)
    if state.get("format") != FORMAT:
        raise StoreError("The checkpoint was written by another version of Keepsight; start again with --overwrite.")
    if state["model"] != backbone.info.name:
        raise StoreError(
            f"The checkpoint belongs to model '{state['model']}', not '{backbone.info.name}'; "
            f"continue with --model {state['model']} or start again with --overwrite."
        )
    size = backbone.info.image_size
    if state["image_size"] != size:
        raise StoreError(
            f"The checkpoint was made at a model input of {state['image_size']} px, not {size} px; "
            "continue with the same image size or start again with --overwrite."
        )
    moved = {name: tensor.to(backbone.device) for name, tensor in tensors.items()}
    memories: dict[str, Any] = {}
    tracks = []
    for packed in state["tracks"]:
        track: Track = new_track(packed["object_id"])
        if track.policy.name != packed["policy_name"]:
            raise StoreError(
                f"The checkpoint was made with policy '{packed['policy_name']}', not '{track.policy.name}'; "
                f"continue with --policy {packed['policy_name']} or start again with --overwrite."
            )
        track.label = packed["label"]
        track.found = packed.get("found")
        track.policy.restore(packed["policy"])
        track.tracked.restore(packed["tracked"])
        track.colours = None if packed["colours"] is None else tensors[packed["colours"]].numpy()
        track.prompts = {int(frame): _unpack_prompt(prompt) for frame, prompt in packed["prompts"].items()}
        records: list[FrameRecord] = []
        for item in packed["records"]:
            record = _unpack_record(backbone, item, moved, memories)
            record.parent = None if item["parent"] is None else records[item["parent"]]
            records.append(record)
        track.bank = ObjectMemory()
        track.bank.conditioning = {frame: records[number] for frame, number in packed["conditioning"]}
        track.bank.tracked = {frame: [records[number] for number in held] for frame, held in packed["bank"]}
        track.pending = {frame: records[number] for frame, number in packed["pending"]}
        tracks.append(track)
    return tracks, state["extra"]


def _read(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    try:
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("digest")
        # safetensors gives metadata of files only; its header is the length in 8 bytes, then JSON.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"]["keepsight"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError("The checkpoint is damaged; start again with --overwrite.") from error


def _unpack_prompt(packed: dict[str, Any]) -> FramePrompt:
    box = packed["box"]
    return FramePrompt(
        points=[(float(x), float(y)) for x, y in packed["points"]],
        labels=[int(label) for label in packed["labels"]],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        mask=None if packed["mask"] is None else Mask.from_coco(packed["mask"]),
    )


def _unpack_record(
    backbone: Backbone, packed: dict[str, Any], tensors: dict[str, Tensor], memories: dict[str, Any]
) -> FrameRecord:
    def tensor(name: str | None) -> Tensor | None:
        return None if name is None else tensors[name]

    memory: Any = tensor(packed.get("mask_to_write"))
    if "memory" in packed:
        names = packed["memory"]
        key = json.dumps(names, sort_keys=True)
        if key not in memories:
            memories[key] = backbone.unpack_memory({part: tensors[name] for part, name in names.items()})
        memory = memories[key]
    return FrameRecord(
        frame=packed["frame"],
        role=Role(packed["role"]),
        memory=memory,
        pointer=tensor(packed["pointer"]),
        logits=tensor(packed["logits"]),
        iou=packed["iou"],
        object_score=packed["object_score"],
        area_px=packed["area_px"],
        region=None if packed["region"] is None else Region(*packed["region"]),
        box=None if packed["box"] is None else _as_box(packed["box"]),
        extent=packed["extent"],
        lost=packed["lost"],
        candidate=packed["candidate"],
        slot=packed["slot"],
        score=packed["score"],
        marks=packed["marks"],
    )


def _as_box(values: list[float]) -> Box:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2
