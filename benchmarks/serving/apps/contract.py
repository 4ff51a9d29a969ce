"""What a request holds, written by hand: of the FastAPI and of the plain BentoML service."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

Temperature = Annotated[float, Field(ge=-10, le=115)] | None
Dew = Annotated[float, Field(ge=-30, le=90)] | None


class Row(BaseModel, extra="forbid", allow_inf_nan=False):
    scheduled: datetime
    carrier: str
    origin: str
    dest: str = Field(pattern="^[A-Z]{3}$")
    distance: int = Field(ge=10, le=5200)
    planned_minutes: float = Field(ge=30, le=780)
    temp: Temperature = None
    dewp: Dew = None
    humid: Annotated[float, Field(ge=5, le=100)] | None = None
    wind_speed: Annotated[float, Field(ge=0, le=80)] | None = None
    precip: Annotated[float, Field(ge=0, le=3)] | None = None
    pressure: Annotated[float, Field(ge=960, le=1060)] | None = None
    visib: Annotated[float, Field(ge=0, le=10)] | None = None


class Columns(BaseModel, extra="forbid", allow_inf_nan=False):
    scheduled: list[datetime]
    carrier: list[str]
    origin: list[str]
    dest: list[Annotated[str, Field(pattern="^[A-Z]{3}$")]]
    distance: list[Annotated[int, Field(ge=10, le=5200)]]
    planned_minutes: list[Annotated[float, Field(ge=30, le=780)]]
    temp: list[Temperature]
    dewp: list[Dew]
    humid: list[Annotated[float, Field(ge=5, le=100)] | None]
    wind_speed: list[Annotated[float, Field(ge=0, le=80)] | None]
    precip: list[Annotated[float, Field(ge=0, le=3)] | None]
    pressure: list[Annotated[float, Field(ge=960, le=1060)] | None]
    visib: list[Annotated[float, Field(ge=0, le=10)] | None]
