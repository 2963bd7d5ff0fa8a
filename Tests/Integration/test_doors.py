"""The addresses of the API, and who is there first."""

import socket
import unittest
import urllib.parse

from support import MachineTestCase, eventually

UNIT = "miosa-agent.service"
SOCKETS = ("miosa-agent-tcp.socket", "miosa-agent-tcp6.socket")
# Takes addresses in a loop, and writes down what is sent to it.
SQUATTER = """
import socket, sys, time
open(sys.argv[1], "ab").close()
listeners = []
for address in sys.argv[2:]:
    host, port = address.rsplit(":", 1)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners.append((family, host, int(port)))
held = {}
while True:
    for family, host, port in listeners:
        if (host, port) in held:
            try:
                connection, _ = held[host, port].accept()
                connection.settimeout(1)
                open(sys.argv[1], "ab").write(connection.recv(65536) or b"-")
            except OSError:
                pass
            continue
        taken = socket.socket(family)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            taken.bind((host, port))
            taken.listen()
            taken.setblocking(False)
            held[host, port] = taken
            open(sys.argv[1], "ab").write(b"held %r\\n" % ((host, port),))
        except OSError:
            taken.close()
    time.sleep(0.001)
"""
LOOT = "/home/user/loot"


class Doors(MachineTestCase):
    def setUp(self):
        super().setUp()
        self.port = urllib.parse.urlsplit(self.machine.url).port
        self.machine.shell(f"cat > /home/user/squatter.py <<'X'\n{SQUATTER}X\nrm -f {LOOT}")
        self.addCleanup(self.machine.shell, f"systemctl reset-failed; systemctl start {' '.join(SOCKETS)}", check=False)

    def status(self, host="127.0.0.1", port=None):
        with socket.create_connection((host, port or self.port), timeout=10) as connection:
            connection.sendall(b"GET /v1/services HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               + f"Authorization: Bearer {self.machine.token}\r\n\r\n".encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return int(answer.split()[1])

    def squat(self, *hosts):
        """Has a service of a tenant take addresses, when they are free."""
        addresses = " ".join(f"'{host}:{self.port}'" for host in hosts)
        self.machine.create("squatter", f"python3 /home/user/squatter.py {LOOT} {addresses}", restart="always")
        self.machine.wait("squatter", status="running")

    def loot(self):
        return self.machine.shell(f"cat {LOOT}", check=False)

    def log(self):
        return self.machine.exec("journalctl", "-b", "-u", UNIT, "-o", "cat", "--no-pager")

    def free_the_door(self):
        """Leaves the addresses to who is first: neither systemd nor the agent has them."""
        self.machine.shell(f"systemctl stop {UNIT} {' '.join(SOCKETS)}")

    def test_no_boot_gives_a_tenant_the_door(self):
        self.squat("127.0.0.1", "::1", "0.0.0.0", "::")
        for _ in range(5):
            self.machine.run("reboot", self.machine.name)
            self.machine.wait("squatter", status="running")
            self.assertEqual((self.status("127.0.0.1"), self.status("::1")), (200, 200))
        self.assertEqual(self.loot(), "")

    def test_a_restart_of_the_agent_or_its_death_leaves_the_door_to_nobody(self):
        self.squat("127.0.0.1", "::1", "0.0.0.0", "::")
        for how in ("restart", "kill --signal=KILL") * 3:
            self.machine.shell(f"systemctl {how} {UNIT}")
            self.assertEqual((self.status("127.0.0.1"), self.status("::1")), (200, 200))
        self.assertEqual(self.loot(), "")

    def test_an_address_that_is_taken_takes_no_other_one_down_and_is_opened_when_it_is_free(self):
        self.free_the_door()
        self.machine.shell(
            "systemd-run --quiet --unit=squatter --uid=user"
            f" python3 /home/user/squatter.py {LOOT} 127.0.0.1:{self.port}"
        )
        self.addCleanup(self.machine.exec, "systemctl", "stop", "squatter.service", check=False)
        eventually(lambda: "held" in self.loot(), "the address is taken")
        self.machine.shell(f"systemctl start {' '.join(SOCKETS)}; systemctl start {UNIT}", check=False)
        self.assertEqual(self.machine.call("GET", "/v1/services").status, 200)
        self.assertEqual(self.status("::1"), 200)
        self.assertEqual(self.machine.property(SOCKETS[0], "ActiveState"), "failed")
        told = (
            f"cannot listen on 127.0.0.1:{self.port}: Address already in use;"
            " it is held by squatter.service (python3, pid "
        )
        eventually(lambda: told in self.log(), "the log says who has it")
        self.machine.exec("systemctl", "stop", "squatter.service")
        eventually(lambda: f"listening on 127.0.0.1:{self.port}\n" in self.log(), "it is open")
        self.assertEqual(self.status(), 200)
        self.assertEqual(self.log().count("cannot listen"), 1, "it is told once")
        # From now on the descriptor store has it.
        for how in ("restart", "kill --signal=KILL"):
            self.machine.shell(f"systemctl {how} {UNIT}")
            self.assertEqual((self.status("127.0.0.1"), self.status("::1")), (200, 200))
        # With a free address systemd's socket unit works again.
        self.free_the_door()
        self.machine.shell(f"systemctl reset-failed {SOCKETS[0]}; systemctl start {SOCKETS[0]} {UNIT}")
        self.assertEqual(self.status(), 200)
        self.assertEqual(self.machine.property(SOCKETS[0], "ActiveState"), "active")

    def test_a_socket_unit_with_another_address(self):
        directory = f"/run/systemd/system/{SOCKETS[0]}.d"
        self.machine.shell(
            f"mkdir -p {directory};"
            f"printf '[Socket]\\nListenStream=\\nListenStream=127.0.0.7:{self.port}\\nListenStream=192.0.2.7:{self.port}\\n'"
            f" > {directory}/z.conf; systemctl daemon-reload; systemctl restart {SOCKETS[0]}"
        )
        self.addCleanup(
            self.machine.shell,
            f"rm -r {directory}; systemctl daemon-reload; systemctl restart {SOCKETS[0]}",
        )
        # One of them is of a machine elsewhere: it is there when the machine gets it.
        self.assertEqual(self.status("127.0.0.7"), 200)
        with self.assertRaises(ConnectionRefusedError):
            self.status("127.0.0.1")

    def test_what_an_administrator_has_stopped_stays_stopped(self):
        self.machine.shell(f"systemctl mask --runtime --now {SOCKETS[0]}; systemctl restart {UNIT}")
        self.addCleanup(
            self.machine.shell, f"systemctl unmask --runtime {SOCKETS[0]}; systemctl stop {UNIT}; systemctl start {UNIT}"
        )
        self.assertEqual(self.status("::1"), 200)
        with self.assertRaises(ConnectionRefusedError):
            self.status("127.0.0.1")


class TrixieDoors(Doors):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
