"""What the command line understands, where invoke would guess or end in a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task as InvokeTask
from invoke.tasks import task as invoke_task

from zclab.errors import ConfigError

SHORT = {"jobs": "j", "lab": "l", "mode": "m", "out": "o", "workload": "w"}
"""The options that have a short flag, which means the same in every task."""

_KINDS = {int: "a whole number", float: "a number"}


class Option(Argument):
    """An option of a task; a value that is none of its kind is an error with exit status 2."""

    @classmethod
    def of(cls, argument: Argument) -> Option:
        """Return the option that an argument of invoke's is."""
        option = cls(
            names=argument.names,
            kind=argument.kind,
            default=argument.default,
            help=argument.help,
            positional=argument.positional,
            optional=argument.optional,
            incrementable=argument.incrementable,
            attr_name=argument.attr_name,
        )
        option.raw_value = None  # invoke takes a repeatable option without a value for not given
        return option

    def set_value(self, value: Any, cast: bool = True) -> None:  # noqa: D102
        try:
            str(value).encode()
            if value == "":  # as a script says it whose variable is not set
                raise ValueError(value)  # noqa: TRY301 - int and float say the same of it
            super().set_value(value, cast)
        except ValueError as exc:
            shown = ascii(value) if isinstance(exc, UnicodeError) else f"'{value}'"
            allowed = _KINDS.get(self.kind, self.help or "any text")
            if isinstance(exc, UnicodeError):
                allowed = "text in UTF-8"
            problem = ConfigError(f"--{self.names[0]}: found {shown}, allowed: {allowed}")
            raise Exit(f"error: {problem}", code=problem.exit_status) from exc


class Task(InvokeTask[Any]):
    """A task that has short flags for the options of SHORT, and none that invoke makes up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "auto_shortflags": False})

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:  # noqa: D102
        options: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if name in SHORT:
            options["names"].append(SHORT[name])
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:  # noqa: D102
        return [Option.of(argument) for argument in super().get_arguments(ignore_unknown_help)]


def task(*args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Mark a function as a task, as invoke's decorator of that name does."""
    return invoke_task(*args, **kwargs, klass=Task)


def check_range(option: str, value: float, least: float, most: float, *, default: str = "") -> None:
    """Raise ConfigError for a number that an option does not allow.

    ``default`` says what 0 stands for, where that is allowed.
    """
    if least <= value <= most or (default and value == 0):  # nan is neither
        return
    or_default = f", or 0 for {default}" if default else ""
    raise ConfigError(f"{option}: found {value}, allowed: {least} to {most}{or_default}")
