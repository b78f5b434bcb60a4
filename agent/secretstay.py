"""One camera in a bay for footage under state secrecy (Art. 18): everything is kept for the custodian, nothing is told.

No camera is recognised, judged, checked out or released here: each of these would name it in the log. What a person at
the dock sees is how far it is, and when it may be taken.
"""

from __future__ import annotations

import logging
from pathlib import Path

from agent.errors import AgentError, SourceEmpty
from agent.secretlane import SecretOrder, keep_secret
from agent.source import PtpPort, SourcePlace
from agent.stay import STATION_BROKEN, Stay
from agent.usbfs import port_for
from agent.usbports import Kind, classify

log = logging.getLogger("agent.secretstay")
UNNAMED = "-"  # a camera that says no serial


class SecretStay(Stay):
    """One stay of one device in a secret bay."""

    async def run(self) -> None:
        """Until the device left. Raises AgentError only for what must stop the station."""
        self._show("recognising")
        for place in await self._places():
            if self.gone.is_set() or not await self._keep(place):
                break
        await self.gone.wait()

    async def _places(self) -> list[SourcePlace]:
        device = self._device
        if classify(device) is Kind.PTP:
            return [PtpPort(port_for(device.bus_number, device.device_number))]
        return [Path(node) for node in await self._disks()]

    async def _keep(self, place: SourcePlace) -> bool:
        """Whether this card is kept; otherwise the bay says why not."""
        camera = self._device.serial or UNNAMED
        recipients = self._grounds.settings.secret_recipients
        order = SecretOrder(place, camera, self._bay.name, recipients, self.gone)
        try:
            result = await keep_secret(self._dock, order, self._progress)
        except SourceEmpty as empty:
            self._show("safe", reason=empty.code)
        except AgentError as error:
            self._failed(error)
            if error.code in STATION_BROKEN:
                raise
            return False
        except Exception:  # a fault of ours ends this stay, never the other bays
            log.exception("secret_failed bay=%s", self._bay.name)
            self._show("failed", reason="internal")
            return False
        else:
            if result.complete:
                self._show("safe", reason="secret_kept")
            log.info("secret_kept id=%s files=%d complete=%s", result.secret_id, result.files, result.complete)
        return True
