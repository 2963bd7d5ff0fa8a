"""The same on the next Debian, whose systemd goes through other states on the way from a failure to a restart."""

import unittest

import test_agent
import test_events
import test_lifecycle
import test_logs
import test_outages
import test_spec


class TrixieWebServer(test_lifecycle.WebServer):
    release = "trixie"


class TrixieEndings(test_lifecycle.Endings):
    release = "trixie"


class TrixieContinuity(test_agent.Continuity):
    release = "trixie"


class TrixieSocketName(test_agent.SocketName):
    release = "trixie"


class TrixieWrongSettings(test_agent.WrongSettings):
    release = "trixie"


class TrixieProgram(test_agent.Program):
    release = "trixie"


class TrixieCredentials(test_agent.Credentials):
    release = "trixie"


class TrixieLinesWithoutUnit(test_logs.LinesWithoutUnit):
    release = "trixie"


class TrixieRefusals(test_outages.Refusals):
    release = "trixie"


class TrixieReloads(test_agent.Reloads):
    release = "trixie"


class TrixieTransitions(test_events.Transitions):
    release = "trixie"


class TrixieBytes(test_spec.Bytes):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
