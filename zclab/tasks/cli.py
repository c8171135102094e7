"""How tasks are declared and end: options, short flags, errors and exit statuses."""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec

from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task as InvokeTask
from invoke.tasks import task as invoke_task

from zclab.errors import INTERRUPTED, ConfigError, ZclabError
from zclab.outside import printable

SHORT = {"jobs": "j", "lab": "l", "mode": "m", "out": "o", "workload": "w"}
"""The options that have a short flag, which means the same in every task."""

_KINDS = {int: "a whole number", float: "a number"}

Parameters = ParamSpec("Parameters")


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
        help_texts = dict(self.help)
        arguments = super().get_arguments(ignore_unknown_help)
        self.help = help_texts  # invoke takes each text out, and would have none the next time
        return [Option.of(argument) for argument in arguments]


def task(*args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Mark a function as a task, as invoke's decorator of that name does."""
    return invoke_task(*args, **kwargs, klass=Task)


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM, which a CI system sends to cancel a job, end what runs as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def explained(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn errors that zclab can explain into a message and an exit status; bugs stay bugs."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            with terminable():
                command(*args, **kwargs)
        except ZclabError as exc:
            raise Exit(printable(f"error: {exc}"), code=exc.exit_status) from exc
        except KeyboardInterrupt as exc:
            raise Exit("interrupted", code=INTERRUPTED) from exc

    return wrapper


def reject_beside(
    option: str,
    task: Callable[..., None],
    values: Mapping[str, object],
    *,
    allow: Collection[str] = (),
) -> None:
    """Raise ConfigError for options of a task that are not allowed beside ``option``.

    ``values`` are its arguments; one that is empty, or its parameter's default, was not given.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name, parameter in inspect.signature(task).parameters.items()
        if name not in {option, *allow} and not name.startswith("_")
        if values[name] not in ([], parameter.default)
    ]
    if given:
        them = "them" if len(given) > 1 else "it"
        raise ConfigError(
            f"--{option}: not allowed with {', '.join(given)}: the run's plan sets {them}; "
            f"leave {them} out"
        )
