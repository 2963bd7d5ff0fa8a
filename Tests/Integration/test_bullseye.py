"""The same on the oldest Debian that the agent runs on: systemd 247, and the C library that it is linked with."""

import unittest

import test_agent
import test_contract
import test_events
import test_lifecycle
import test_logs
import test_spec
import test_storage


class BullseyeWebServer(test_lifecycle.WebServer):
    release = "bullseye"


class BullseyeEndings(test_lifecycle.Endings):
    release = "bullseye"


class BullseyeContinuity(test_agent.Continuity):
    release = "bullseye"


class BullseyeLinesWithoutUnit(test_logs.LinesWithoutUnit):
    release = "bullseye"


class BullseyeSocketName(test_agent.SocketName):
    release = "bullseye"


class BullseyeWrongSettings(test_agent.WrongSettings):
    release = "bullseye"


class BullseyeCredentials(test_agent.Credentials):
    release = "bullseye"
    has_store = False


class BullseyeReloads(test_agent.Reloads):
    release = "bullseye"


class BullseyeSystemdAway(test_agent.SystemdAway):
    release = "bullseye"


class BullseyeReplacing(test_contract.Replacing):
    release = "bullseye"


class BullseyeComputer(test_contract.TheComputer):
    release = "bullseye"
    systemd_version = "247"


class BullseyeTransitions(test_events.Transitions):
    release = "bullseye"


class BullseyeLogContent(test_logs.Content):
    release = "bullseye"


class BullseyeBytes(test_spec.Bytes):
    release = "bullseye"


class BullseyeFullUnitDirectory(test_storage.FullUnitDirectory):
    release = "bullseye"


if __name__ == "__main__":
    unittest.main()
