"""The option that loads the accounting plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.plugin import plugin_option
from zclab.errors import ConfigError

OFFSETS = {"pid": 1320, "tgid": 1324, "comm": 1792}


def test_the_plugin_is_told_where_to_look_and_to_write() -> None:
    option = plugin_option(
        Path("/c/account.so"),
        out=Path("/r/marks"),
        system_map=Path("/k/System.map"),
        task_offsets=OFFSETS,
        profile=True,
    )

    assert option == (
        "file=/c/account.so,out=/r/marks,map=/k/System.map,pid=1320,tgid=1324,comm=1792,profile=on"
    )


def test_a_comma_in_a_path_is_told_before_qemu_splits_it() -> None:
    with pytest.raises(ConfigError, match="/r,s/marks: QEMU cannot load a plugin"):
        plugin_option(
            Path("/c/account.so"),
            out=Path("/r,s/marks"),
            system_map=Path("/k/System.map"),
            task_offsets=OFFSETS,
        )
