"""What requests may say. Fields that are not known are ignored: clients of many versions ask."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

_Id: TypeAlias = Annotated[str, Field(max_length=300)]
_Index: TypeAlias = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Part: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Text: TypeAlias = Annotated[str, Field(max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Params(_Body):
    """What the client's sliders say; what it does not say is left to the server."""

    conf_threshold: _Share | None = None
    epsilon_factor: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] | None = None


class Mark(_Body):
    """Something drawn on a single picture, in px."""

    type: Annotated[str, Field(max_length=40)]
    data: list[Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]] = Field(max_length=8)
    label: Annotated[int, Field(ge=-10, le=10)] = 1


class PictureParams(Params):
    marks: list[Mark] | None = Field(default=None, max_length=10_000)
    text_prompt: _Text | None = None


class PredictBody(_Body):
    model: _Id
    image: str
    params: PictureParams = PictureParams()


class InitBody(_Body):
    """All but the frames, which are taken out of the body as they come."""

    model: _Id
    start_frame_index: _Index = 0


class PromptBody(_Body):
    session_id: _Id
    model: _Id
    text_prompt: _Text | None = None
    frame_index: _Index = 0
    points: list[tuple[_Part, _Part]] | None = Field(default=None, max_length=10_000)
    point_labels: list[Literal[0, 1]] | None = Field(default=None, max_length=10_000)
    obj_id: int | None = None
    params: Params = Params()


class PropagateBody(_Body):
    session_id: _Id
    model: _Id
    start_frame: _Index | None = None
    end_frame: _Index | None = None


INIT_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "frames"],
                    "properties": {
                        "model": {"type": "string", "maxLength": 300},
                        "frames": {
                            "type": "array",
                            "items": {"type": "string", "description": "a picture as base64 or data URI"},
                            "minItems": 1,
                        },
                        "start_frame_index": {"type": "integer", "minimum": 0, "default": 0},
                    },
                }
            }
        },
    }
}
