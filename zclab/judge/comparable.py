"""Whether runs may be compared at all, and if not, what stands in the way.

What may differ between two runs is the kernel, for that is what they compare. Everything else
that changes figures must be equal, or be allowed by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from zclab.errors import ConfigError, LabError
from zclab.judge.cells import CELL_FIELDS, Cell, Key
from zclab.runs.results import Dimensions, Results

COMPARED = ("kernel", "series", "host_kernel", "kernel_source", "machine")
"""The names in provenance that stand for the kernel; ``machine`` is over it and what has a name of
its own.
"""
SUBJECT = ("workload", "direction", "message_bytes")
"""The dimensions that say what ran; the other ones say under which conditions."""
_NOTHING = "(not recorded)"


def check_comparable(ours: Results, theirs: Results, *, allow: Collection[str] = ()) -> None:
    """Raise ConfigError that names everything but the kernel in which two runs differ."""
    found = [
        (name, mine, yours)
        for name, mine, yours in _differences(ours, theirs)
        if name not in COMPARED and name not in allow
    ]
    if not found:
        return
    lines = [f"  {name}: {mine}, and {yours} in the baseline" for name, mine, yours in found]
    what = f"{ours.run.id} and {theirs.run.id} differ in more than the kernel:"
    remedy = f"make these equal in both, or say --allow {found[0][0]} if it does not matter"
    raise ConfigError("\n".join((what, *lines, remedy)))


def check_one_baseline(baselines: Sequence[Results]) -> None:
    """Raise ConfigError where the runs of a baseline were not all made with the same things."""
    first = baselines[0]
    for other in baselines[1:]:
        for name, mine, yours in _differences(first, other):
            raise ConfigError(
                f"--baseline: {first.run.id} and {other.run.id} cannot be one baseline: {name} is "
                f"{mine} in one and {yours} in the other"
            )


def matched(
    ours: Sequence[Cell], theirs: Sequence[Cell], *, allow: Collection[str] = ()
) -> tuple[tuple[Cell, Cell | None], ...]:
    """Return each of our cells with its counterpart, None where the baseline has none.

    Raises ConfigError where there is one but for the conditions it ran under, unless these are
    allowed to differ.
    """
    fields = tuple(name for name in CELL_FIELDS if name not in allow)
    found: dict[Key, Cell] = {}
    for cell in theirs:
        if found.setdefault(_key(cell, fields), cell) is not cell:
            raise ConfigError(
                f"--allow: the baseline then has several cells {_what(cell.dimensions)}; "
                "allow less, or name a run with one of them"
            )
    taken = {_key(cell, fields) for cell in ours}
    spare = [cell.dimensions for key, cell in found.items() if key not in taken]
    for cell in ours:
        mine = cell.dimensions
        for yours in spare if _key(cell, fields) not in found else ():
            if all(getattr(mine, name) == getattr(yours, name) for name in SUBJECT):
                raise ConfigError(_conditions_differ(mine, yours, fields))
    return tuple((cell, found.get(_key(cell, fields))) for cell in ours)


def check_exact(ours: Results, theirs: Results) -> None:
    """Raise LabError where two runs in virtual time of the very same things differ in a figure."""
    if ours.run.clock == "wall" or any(_differences(ours, theirs)):
        return
    seen = {_place(sample): sample.value for sample in theirs.samples}
    for sample in ours.samples:
        value = seen.get(_place(sample), sample.value)
        if value != sample.value:
            raise LabError(
                f"virtual time is not exact: {ours.run.id} and {theirs.run.id} were made with the "
                f"same artifacts, but {sample.metric} of {sample.mode} {sample.workload} "
                f"{sample.message_bytes} B, start {sample.boot}, is {sample.value} and {value}; "
                "the machine that ran the lab influenced it"
            )


def _place(sample: Dimensions) -> tuple[object, ...]:
    return tuple(
        getattr(sample, name) for name in type(sample).model_fields if name not in {"value", "unit"}
    )


def _differences(ours: Results, theirs: Results) -> Iterator[tuple[str, str, str]]:
    """Yield the name, our value and theirs of everything that two runs were not made alike in."""
    if ours.run.clock != theirs.run.clock:
        yield "clock", ours.run.clock, theirs.run.clock
    mine, yours = ours.provenance, theirs.provenance
    if mine.cpu_model != yours.cpu_model:
        yield "cpu_model", mine.cpu_model or _NOTHING, yours.cpu_model or _NOTHING
    pairs: tuple[tuple[Mapping[str, object], Mapping[str, object]], ...] = (
        (mine.versions, yours.versions),
        (mine.artifacts, yours.artifacts),
        (mine.settings, yours.settings),
    )
    for ours_of, theirs_of in pairs:
        for name in dict.fromkeys((*ours_of, *theirs_of)):
            if ours_of.get(name) != theirs_of.get(name):
                yield (
                    name,
                    str(ours_of.get(name, _NOTHING)),
                    str(theirs_of.get(name, _NOTHING)),
                )


def _key(cell: Cell, fields: Collection[str]) -> Key:
    return tuple(getattr(cell.dimensions, name) for name in fields)


def _what(dimensions: Dimensions) -> str:
    words = (dimensions.workload, dimensions.direction, f"{dimensions.message_bytes} B")
    return " ".join(word for word in words if word)


def _conditions_differ(mine: Dimensions, yours: Dimensions, fields: Collection[str]) -> str:
    names = [name for name in fields if getattr(mine, name) != getattr(yours, name)]
    differing = "; ".join(
        f"{name} {getattr(mine, name)}, and {getattr(yours, name)} in the baseline"
        for name in names
    )
    return (
        f"{_what(mine)} ran under other conditions: {differing}; run both under equal "
        f"conditions, or say --allow {names[0]}"
    )
