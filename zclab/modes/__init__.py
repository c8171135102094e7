"""How the guest's NIC is backed: one file for each mode, and this table."""

from __future__ import annotations

from collections.abc import Mapping

from zclab.model import ModeName
from zclab.modes.base import Mode
from zclab.modes.passthrough import Passthrough
from zclab.modes.vhost import Vhost
from zclab.modes.zerocopy import Zerocopy

_ALL: tuple[Mode, ...] = (Passthrough(), Vhost(), Zerocopy())

MODES: Mapping[ModeName, Mode] = {mode.name: mode for mode in _ALL}
