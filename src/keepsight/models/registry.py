"""Which models there are, what they are called, and whether their weights are on this machine.

Nothing here touches the network or imports torch: the command line lists models and corrects a mistyped name in a moment.
``download.py`` fetches weights; the backbones load them.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepsight.core.errors import ModelError

#: ``model_type`` of a checkpoint's config.json -> the family whose backbone loads it. Image and video checkpoints of a family
#: hold the same weights; the checkpoint of the whole of SAM 3 holds a detector of words too, which is also found by itself.
MODEL_TYPES: dict[str, str] = {
    "keepsight_builtin": "builtin",
    "sam2": "sam2",
    "sam2_video": "sam2",
    "edgetam": "edgetam",
    "edgetam_video": "edgetam",
    "sam3": "sam3-detector",
    "sam3_video": "sam3",
    "sam3_tracker": "sam3",
    "sam3_tracker_video": "sam3",
    "grounding-dino": "grounding-dino",
    "owlv2": "owlv2",
}

#: Families that find what a word names and cannot follow it.
DETECTORS = ("grounding-dino", "owlv2", "sam3-detector")

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be loaded by name.

    Attributes:
        name: what a person types.
        family: which backbone loads it: ``builtin``, ``sam2``, ``edgetam``, ``sam3``; or which detector:
            :data:`DETECTORS`; ``unknown`` for a hub id whose config.json is not on this machine yet.
        title: how it is called in prose.
        licence: SPDX id or the licence's own name.
        hub_id: repository on the Hugging Face hub; ``None`` for weights that ship with the package or lie in a folder.
        folder: local folder, when the weights are not managed by the hub's cache.
        parameters_m: millions of parameters; ``None`` when unknown.
        download_mb: size of the safetensors file in MB (1e6 bytes), approximate; ``None`` when unknown.
        gated: the hub hands it out only after its licence was accepted.
        aliases: other names for it.
        note: one line on what is particular about it.
    """

    name: str
    family: str
    title: str
    licence: str
    hub_id: str | None = None
    folder: Path | None = None
    parameters_m: float | None = None
    download_mb: float | None = None
    gated: bool = False
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def source(self) -> str:
        """Where the weights come from, for people."""
        if self.hub_id is not None:
            return self.hub_id
        return "ships with Keepsight" if self.family == "builtin" and self.name == "builtin" else str(self.folder)

    @property
    def detects(self) -> bool:
        """Whether it finds objects by words (``--detector``) and does not follow them (``--model``)."""
        return self.family in DETECTORS

    @property
    def page(self) -> str | None:
        """The model's page on the hub."""
        return None if self.hub_id is None else f"https://huggingface.co/{self.hub_id}"

    @property
    def access_steps(self) -> str:
        """What a person does to be let in to a gated model; empty for an open one."""
        if not self.gated:
            return ""
        return f"accept its licence at {self.page}, then run `hf auth login` with a token of that account"


def _sam2_entries() -> list[ModelEntry]:
    # Sizes and parameter counts as the hub's pages give them (fp32 safetensors).
    sizes = [("tiny", 38.9, 156), ("small", 46.0, 184), ("base-plus", 80.8, 323), ("large", 224.4, 898)]
    entries = []
    for version in ("2.1", "2"):
        for size, parameters_m, download_mb in sizes:
            aliases = [
                f"sam{version}-hiera-{size}",
                f"sam{version}_{size.replace('-', '_')}",
                f"sam{version}_hiera_{size.replace('-', '_')}",
            ]
            if size == "base-plus":
                aliases += [f"sam{version}-base", f"sam{version}-b+"]
            entries.append(
                ModelEntry(
                    name=f"sam{version}-{size}",
                    family="sam2",
                    title=f"SAM {version} {size}",
                    licence="Apache-2.0",
                    hub_id=f"facebook/sam{version}-hiera-{size}",
                    parameters_m=parameters_m,
                    download_mb=download_mb,
                    aliases=tuple(aliases),
                )
            )
    return entries


def _detector_entries() -> list[ModelEntry]:
    # Parameters counted on the published configurations; fp32 safetensors.
    grounding, owl = "Grounding DINO", "OWLv2"
    sizes = [
        ("grounding-dino", grounding, "tiny", 172.3, 689, "IDEA-Research/grounding-dino-tiny"),
        ("grounding-dino-base", grounding, "base", 232.3, 929, "IDEA-Research/grounding-dino-base"),
        ("owlv2", owl, "base", 155.0, 620, "google/owlv2-base-patch16-ensemble"),
        ("owlv2-large", owl, "large", 437.6, 1750, "google/owlv2-large-patch14-ensemble"),
    ]
    return [
        ModelEntry(
            name=name,
            family="grounding-dino" if title is grounding else "owlv2",
            title=f"{title} {size}",
            licence="Apache-2.0",
            hub_id=hub_id,
            parameters_m=parameters_m,
            download_mb=download_mb,
            aliases=() if name.endswith(size) else (f"{name}-{size}",),
            note="finds what a word names; a detector, to go with any of the trackers",
        )
        for name, title, size, parameters_m, download_mb, hub_id in sizes
    ]


#: Every model with a name of its own, in the order of the table.
ENTRIES: tuple[ModelEntry, ...] = (
    ModelEntry(
        name="builtin",
        family="builtin",
        title="Keepsight's own compact model",
        licence="Apache-2.0",
        parameters_m=3.8,
        download_mb=8,
        aliases=("default", "keepsight"),
        note="no download; made for CPUs",
    ),
    *_sam2_entries(),
    ModelEntry(
        name="edgetam",
        family="edgetam",
        title="EdgeTAM",
        licence="Apache-2.0",
        hub_id="yonigozlan/EdgeTAM-hf",
        parameters_m=13.9,
        download_mb=56,
        aliases=("edge-tam", "edgetam-hf"),
        note="SAM 2 made light for phones",
    ),
    ModelEntry(
        name="sam3",
        family="sam3",
        title="SAM 3",
        licence="SAM License",
        hub_id="facebook/sam3",
        parameters_m=860,
        download_mb=3450,
        gated=True,
        aliases=("sam-3", "sam3-tracker"),
        note="finds what words name too (--text)",
    ),
    *_detector_entries(),
)


def names() -> list[str]:
    """Names of all models that have one, in the order of the table."""
    return [entry.name for entry in ENTRIES]


def resolve(name: str | Path) -> ModelEntry:
    """Finds the model that a person means.

    Args:
        name: a name or alias of the table, the path of a folder with ``config.json`` and safetensors, or a hub id ``owner/name``.

    Raises:
        ModelError: nothing of that name; the closest names are offered.
    """
    text = str(name).strip()
    wanted = text.lower()
    for entry in ENTRIES:
        if wanted in (entry.name, *entry.aliases) or (entry.hub_id is not None and wanted == entry.hub_id.lower()):
            return entry
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        return _from_folder(folder, text)
    looks_like_path = text.startswith((".", "/", "~")) or "\\" in text
    if not looks_like_path and _HUB_ID.fullmatch(text):
        entry = ModelEntry(name=text, family="unknown", title=text, licence="see its page", hub_id=text)
        cached = local_dir(entry)
        return entry if cached is None else _with_family(entry, cached)
    if looks_like_path:
        raise ModelError(f"Model folder {text!r} does not exist.")
    known = {alias: entry.name for entry in ENTRIES for alias in (entry.name, *entry.aliases)}
    begun = [word for word in known if wanted and word.startswith(wanted)]
    matches = begun or difflib.get_close_matches(wanted, known, n=4, cutoff=0.6)
    close = list(dict.fromkeys(known[match] for match in matches))[:4]
    hint = f"Did you mean {' or '.join(close)}?" if close else f"Known models: {', '.join(names())}."
    raise ModelError(f"There is no model {text!r}. {hint} A local folder or a hub id (owner/name) works too.")


def local_dir(entry: ModelEntry) -> Path | None:
    """Folder with the model's config.json and complete safetensors, ``None`` when it is not on this machine. No network."""
    if entry.folder is not None:
        return entry.folder if _is_complete(entry.folder) else None
    if entry.hub_id is None:
        # The package folder is found beside this file: importing keepsight.models.builtin would import torch.
        package = Path(__file__).with_name("builtin")
        return package if any(package.glob("*.safetensors")) else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(entry.hub_id, "config.json")
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _is_complete(folder) else None


def is_cached(entry: ModelEntry) -> bool:
    """Whether the model could be loaded now without a network."""
    return local_dir(entry) is not None


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json.

    Raises:
        ModelError: there is none, or it is no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} is not a model folder: it has no config.json.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a model configuration.")
    return config


def _family_of(folder: Path) -> str:
    model_type = read_config(folder).get("model_type")
    family = MODEL_TYPES.get(str(model_type))
    if family is None:
        raise ModelError(
            f"{folder} holds a model of type {model_type!r}, which Keepsight cannot use; "
            f"it can with {', '.join(MODEL_TYPES)}."
        )
    return family


def _from_folder(folder: Path, text: str) -> ModelEntry:
    family = _family_of(folder)
    if not _is_complete(folder):
        raise ModelError(
            f"Model folder {folder} has no complete model.safetensors; convert or download the weights again."
        )
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    return ModelEntry(
        name=text, family=family, title=folder.name, licence="see its folder", folder=folder, download_mb=round(size, 1)
    )


def _with_family(entry: ModelEntry, folder: Path) -> ModelEntry:
    from dataclasses import replace

    return replace(entry, family=_family_of(folder))


def _is_complete(folder: Path) -> bool:
    """Whether every safetensors file that the folder promises is there (a broken download leaves links without a file)."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        return bool(shards) and all((folder / shard).is_file() for shard in shards)
    return any(path.is_file() for path in folder.glob("*.safetensors"))
