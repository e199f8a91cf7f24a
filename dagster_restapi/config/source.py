"""The configuration of one source, from a dict as it is written for dlt, from models, or from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError

from dagster_restapi.config.client import ClientConfig
from dagster_restapi.config.functions import import_paths
from dagster_restapi.config.mistakes import ConfigMistakes, Mistake, Origin, mistakes_of, refuse
from dagster_restapi.config.plan import mistakes_in
from dagster_restapi.config.resource import ResourceConfig, ResourceDefaults, resource_from
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.yaml_file import read_yaml


class RestApiConfig(Settings):
    """One API and what is fetched from it. Takes what dlt's `rest_api_source` takes, as it is.

    Raises:
        ConfigError: Something is wrong; every mistake is named with its path in the configuration. It is a ValueError.
    """

    client: ClientConfig = Field(default_factory=ClientConfig)
    """Where the API is, and the rules for talking to it."""
    resource_defaults: ResourceDefaults | None = None
    """What holds for every resource that does not say otherwise."""
    resources: list[
        Annotated[ResourceConfig, BeforeValidator(resource_from, json_schema_input_type=str | ResourceConfig)]
    ] = Field(default_factory=list)
    """What is fetched: one asset each."""

    _origin: Origin | None = PrivateAttr(default=None)

    def __init__(self, **data: Any) -> None:
        found: list[Mistake] = []
        try:
            super().__init__(**data)
        except ValidationError as error:
            found = mistakes_of(error, data, type(self))
        refuse(found, data)
        refuse(mistakes_in(self), data)

    @property
    def origin(self) -> Origin | None:
        """The YAML file that this comes from, and its lines; None where it was written in Python."""
        return self._origin

    @classmethod
    def model_validate(cls, obj: Any, *, allow_functions: bool = True, **_: Any) -> Self:
        """The configuration from a mapping; the same as calling the class with its keys.

        Args:
            obj: The mapping, or a configuration.
            allow_functions: Whether a text may name a function by its import path, which imports its module.

        Raises:
            ConfigError: As the class does.
        """
        if isinstance(obj, cls):
            return obj
        if not isinstance(obj, Mapping):
            raise ConfigMistakes([Mistake((), "a configuration is a mapping with client and resources")])
        refuse(Mistake((), "the keys of a configuration are texts") for key in obj if not isinstance(key, str))
        with import_paths(allowed=allow_functions):
            return cls(**obj)

    @classmethod
    def from_yaml(cls, path: str | Path, *, allow_functions: bool = True) -> Self:
        """The configuration in a YAML file. A function stands there as its import path `package.module:function`.

        Args:
            path: The file.
            allow_functions: False for a file that is not your own: an import path runs the code of its module.

        Raises:
            ConfigError: As the class does; with the lines of the file.
        """
        document, origin = read_yaml(Path(path))
        mistakes: tuple[Mistake, ...] = ()
        try:
            config = cls.model_validate(document, allow_functions=allow_functions)
        except ConfigMistakes as error:
            mistakes = error.mistakes
        refuse(mistakes, document, origin)
        config._origin = origin
        return config

    @classmethod
    def parse(cls, source: RestApiConfig | Mapping[str, Any] | str | Path) -> RestApiConfig:
        """The configuration from whatever a factory was given: itself, a mapping, or the path of a YAML file.

        Raises:
            ConfigError: As the class does.
        """
        if isinstance(source, RestApiConfig):
            return source
        if isinstance(source, (str, Path)):
            return cls.from_yaml(source)
        return cls.model_validate(source)
