"""Settings: read and check the environment's variables.

The caller passes the variables as a mapping. All wrong settings are reported together, before the
worker uses the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from worker.errors import ConfigurationError
from worker.photo.ladder import DEFAULT_LADDER, Ladder
from worker.photo.layout import PREFIX_MAX_BYTES
from worker.photo.limits import Limits
from worker.photo.looks import EFFORTS, Looks
from worker.photo.recipe import Recipe
from worker.photo.watermark import Watermark
from worker.render.capacity import MIB, Capacity, plan_capacity
from worker.settings.values import (
    Background,
    Bytes,
    FileOfPicture,
    Placing,
    auto,
    bucket,
    buckets,
    globs,
    ladder_of,
    resource_path,
    size,
)
from worker.settings.variables import PREFIX, misspelt, variable
from worker.system.machine import Machine

_ADDRESS: Final = re.compile(r"([^/\s:@\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_URL: Final = re.compile(r"https?://([^/\s:@\[\]?#]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")


class Settings(BaseModel):
    """All settings. Their names are the environment's, in lower case and without a prefix."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True
    )

    project: str | None = Field(None, description="The Google Cloud project of short names.")
    billing_project: str | None = Field(
        None, description="The project that pays for requests to buckets whose requesters pay."
    )
    pubsub_emulator_host: str | None = Field(None, description="Address of a Pub/Sub emulator.")
    storage_emulator_host: str | None = Field(None, description="URL of a GCS server.")

    subscription: str | None = Field(None, description="The subscription to consume.")
    topic: str | None = Field(None, description="The topic that events are published to.")
    dead_letter_topic: str | None = Field(
        None, description="Where permanent failures go; without one they are nacked."
    )
    dead_letter_subscription: str | None = Field(
        None, description="The dead-letter topic's subscription."
    )
    outcome_topic: str | None = Field(
        None, description="Where outcome events go; none are sent without one."
    )
    originals_buckets: Annotated[tuple[str, ...], BeforeValidator(buckets)] = Field(
        (),
        description="Comma list of the buckets that originals may lie in; `register` uploads to "
        "the first.",
    )
    include: Annotated[tuple[str, ...], BeforeValidator(globs)] = Field(
        (),
        description="Comma list of globs: the objects that notifications and `backfill` register; "
        "all of them without any.",
    )
    exclude: Annotated[tuple[str, ...], BeforeValidator(globs)] = Field(
        (), description="Comma list of globs: the objects that they leave; wins over `INCLUDE`."
    )
    renditions_bucket: str | None = Field(
        None, description="The bucket that renditions and manifests are written to."
    )
    output_prefix: str = Field("photos/", description="The folder that all output lies under.")
    ladder: Annotated[Ladder, BeforeValidator(ladder_of)] = Field(
        DEFAULT_LADDER, description="Comma list of rungs: longest edges in pixels, and `full`."
    )
    quality: int = Field(80, ge=1, le=100, description="WebP quality of every rung, 1-100.")
    encoding: Literal["fast", "balanced", "compact", "small"] = Field(
        "balanced",
        description="How long WebP may take for fewer bytes: `fast`, `balanced`, `compact` or "
        "`small`; sets both efforts.",
    )
    effort: Annotated[int | None, BeforeValidator(auto)] = Field(
        None, ge=0, le=6, description="WebP effort of the resized rungs, 0-6, over `ENCODING`'s."
    )
    full_effort: Annotated[int | None, BeforeValidator(auto)] = Field(
        None, ge=0, le=6, description="WebP effort of `full`, 0-6, over `ENCODING`'s."
    )
    target_bytes: Bytes | None = Field(
        None, description="The most bytes of each rung; its quality is lowered to fit."
    )
    target_quality: float | None = Field(
        None,
        ge=30,
        le=90,
        description="How good each rung must look, 30-90 on SSIMULACRA2's scale; its quality is "
        "chosen for it, and `QUALITY` not used.",
    )
    watermark: FileOfPicture = Field(
        None, description="File of a picture that is laid over every rung."
    )
    watermark_opacity: float = Field(0.5, gt=0, le=1, description="How strong it is, up to 1.")
    watermark_position: Placing = Field(
        "south-east", description="Where it lies: `centre`, `north`, `north-east` …, or `tile`."
    )
    watermark_scale: float = Field(
        0.2, ge=0.01, le=1, description="How wide it is, as a share of the rung's width."
    )
    background: Background = Field(
        None, description="`#rrggbb` behind what is transparent; `transparent` keeps it so."
    )
    vcpus: Annotated[int | None, BeforeValidator(auto)] = Field(
        None, ge=1, le=1024, description="Render slots; `auto` is what the cgroup grants."
    )
    in_flight_per_vcpu: int = Field(
        3, ge=1, le=64, description="Messages held for each vCPU, where memory allows."
    )
    memory_bytes: Annotated[int | None, BeforeValidator(auto), BeforeValidator(size)] = Field(
        None, gt=0, description="Memory to plan with; `auto` is the cgroup's limit."
    )
    max_original_bytes: Bytes = Field(
        64 * MIB, description="Larger originals are refused before they are downloaded."
    )
    max_original_pixels: int = Field(
        150_000_000, gt=0, description="Larger pictures are refused before they are decoded."
    )
    render_timeout_seconds: float = Field(
        60,
        gt=0,
        le=500,
        description="CPU seconds of a render; one that takes more, or three times as long by the "
        "clock, is killed.",
    )
    drain_seconds: float = Field(
        20, ge=0, le=600, description="How long running work may take after SIGTERM."
    )
    preemption_notice: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the metadata server's word of a preemption starts the drain: `on`, "
        "`off`, or `auto`: where one answers.",
    )
    brake_share: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of permanent failures at which the worker stops pulling; 0 = never.",
    )
    brake_events: int = Field(
        50, ge=1, le=10_000, description="How many of the last photos that share is taken of."
    )
    brake_seconds: float = Field(
        300,
        ge=0,
        le=86_400,
        description="How long the worker tries again now and then, before it ends with 8.",
    )
    http_port: int = Field(8080, ge=0, le=65535, description="Port of health checks; 0 = off.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json`, `console`, or `auto`: console on a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="`debug`, `info`, `warning` or `error`."
    )

    @field_validator("log_level", "log_format", "preemption_notice", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator(
        "subscription", "topic", "dead_letter_topic", "dead_letter_subscription", "outcome_topic"
    )
    @classmethod
    def _full_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = "subscription" if str(info.field_name).endswith("subscription") else "topic"
        return resource_path(kind, value, info.data.get("project")) if value else None

    @field_validator("renditions_bucket")
    @classmethod
    def _one_bucket(cls, value: str | None) -> str | None:
        return bucket(value) if value else None

    @field_validator("output_prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        folder = value.strip("/")
        if any(part in (".", "..") for part in folder.split("/")) or "//" in folder:
            raise ValueError("must be a folder such as photos/")
        if len(folder.encode(errors="replace")) >= PREFIX_MAX_BYTES or not folder.isprintable():
            raise ValueError(
                f"must have less than {PREFIX_MAX_BYTES} bytes and no control characters: object "
                "names have 1,024 bytes, and photo ids up to 800"
            )
        return f"{folder}/" if folder else ""

    @field_validator("storage_emulator_host")
    @classmethod
    def _with_scheme(cls, value: str | None) -> str | None:
        if value and not _URL.fullmatch(value):
            raise ValueError("must be http://HOST:PORT or https://HOST:PORT, without a path")
        return value or None

    @field_validator("pubsub_emulator_host")
    @classmethod
    def _without_scheme(cls, value: str | None) -> str | None:
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError("must be HOST:PORT, without a scheme or a path")
        return value or None

    @classmethod
    def load(
        cls,
        environment: Mapping[str, str],
        flags: Mapping[str, str] | None = None,
        *,
        need: tuple[str, ...] = (),
    ) -> Self:
        """Read settings from an environment; `flags` override it.

        Args:
            environment: values by variable's name, such as `os.environ`.
            flags: values by setting's name, in the environment's textual form.
            need: settings that must be set.

        Raises:
            ConfigurationError: one line for each wrong, missing or misspelt setting.
        """
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            text = (flags or {}).get(name, environment.get(variable(name)))
            # An empty variable counts as unset, but an empty prefix means the bucket's root.
            if text is not None and (text.strip() or name == "output_prefix"):
                values[name] = text.strip()
        problems = misspelt(environment, cls.model_fields)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            wrong = [_problem(item) for item in error.errors(include_url=False)]
            raise ConfigurationError(problems + wrong + _missing(need, values)) from error
        problems += _missing(need, values) + settings.conflicts()
        if problems:
            raise ConfigurationError(problems)
        return settings

    def conflicts(self) -> list[str]:
        """Return the problems of settings that are valid alone and wrong together."""
        problems = []
        if not self.output_prefix and self.renditions_bucket in self.originals_buckets:
            problems.append(
                f"{PREFIX}OUTPUT_PREFIX='': originals and renditions share the bucket "
                f"{self.renditions_bucket!r}, so the worker would be fed its own output; "
                "set a prefix that no original lies under, or another bucket"
            )
        roles: dict[str, str] = {}
        for name in ("topic", "dead_letter_topic", "outcome_topic"):
            topic = getattr(self, name)
            if topic is not None and (other := roles.setdefault(topic, name)) != name:
                problems.append(
                    f"{variable(name)}={topic!r}: is {variable(other)} too; what the worker sends "
                    "there would come back to it for ever"
                )
        return problems

    @property
    def limits(self) -> Limits:
        """The largest original that is accepted."""
        return Limits(
            max_original_bytes=self.max_original_bytes,
            max_original_pixels=self.max_original_pixels,
        )

    def recipe(self, codec: str) -> Recipe:
        """Return the recipe of these settings, with these codecs."""
        effort, full_effort = EFFORTS[self.encoding]
        looks = Looks(
            quality=self.quality,
            effort=effort if self.effort is None else self.effort,
            full_effort=full_effort if self.full_effort is None else self.full_effort,
            target_bytes=self.target_bytes,
            target_quality=self.target_quality,
            watermark=self._watermark(),
            background=self.background,
        )
        return Recipe(ladder=self.ladder, looks=looks, codec=codec)

    def _watermark(self) -> Watermark | None:
        if self.watermark is None:
            return None
        return Watermark(
            sha256=self.watermark.sha256,
            opacity=self.watermark_opacity,
            position=self.watermark_position,
            scale=self.watermark_scale,
        )

    def capacity(self, machine: Machine) -> Capacity:
        """Return how much this machine runs at once with these settings.

        Raises:
            ConfigurationError: the memory is too small for one render.
        """
        return plan_capacity(
            vcpus=self.vcpus or machine.vcpus,
            memory_bytes=self.memory_bytes or machine.memory_bytes,
            in_flight_per_vcpu=self.in_flight_per_vcpu,
        )


def _missing(need: tuple[str, ...], values: Mapping[str, object]) -> list[str]:
    return [
        f"{variable(name)} is not set: {Settings.model_fields[name].description}"
        for name in need
        if name not in values
    ]


def _problem(item: Any) -> str:  # noqa: ANN401 (pydantic's ErrorDetails)
    name = str(item["loc"][0])
    message = item["msg"].removeprefix("Value error, ")
    expected = Settings.model_fields[name].description
    return f"{variable(name)}={item['input']!r}: {message} ({expected})"
