"""The Debian package: what is in it, and what it does to a machine that it is installed on, upgraded on and removed from."""

import collections
import filecmp
import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import unittest

from support import PATIENCE_SECONDS, REPOSITORY, Machine, MachineTestCase, eventually, unit_of

SSE = "text/event-stream"
AGENT = str(REPOSITORY / ".build" / "miosa-agent")
UNITS = [
    "miosa-agent.socket", "miosa-agent-tcp.socket", "miosa-agent-tcp6.socket", "miosa-agent-vsock.socket",
    "miosa-agent.service",
]
# The longest that a client may wait while a package is installed, unless the installation itself takes longer: then the
# machine is busy.
WAIT_LIMIT_SECONDS = 5


def run(*command, **options):
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} failed with {done.returncode}: {done.stdout}")
    return done.stdout


class Packages:
    """Two versions of the package, made once. The agent in them is the same: it is the package that is tested."""

    # dpkg holds the second for newer than the first.
    VERSIONS = ("0.1.0+one", "0.1.0+two")
    directory = None

    @classmethod
    def make(cls, version, directory=None):
        command = [str(REPOSITORY / "scripts" / "package"), "--binary", AGENT, "--version", version]
        path = run(*command, "--output", directory or cls.directory.name).splitlines()[-1]
        return pathlib.Path(REPOSITORY, path)

    @classmethod
    def paths(cls):
        if not cls.directory:
            cls.directory = tempfile.TemporaryDirectory(prefix="miosa-agent-package-")
            unittest.addModuleCleanup(cls.directory.cleanup)
            cls.made = [cls.make(version) for version in cls.VERSIONS]
        return cls.made


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = Packages.paths()[0]
        cls.root = tempfile.TemporaryDirectory(prefix="miosa-agent-root-")
        cls.addClassCleanup(cls.root.cleanup)
        run("dpkg-deb", "--extract", str(cls.package), cls.root.name)
        cls.help = run(AGENT, "--help")

    def text(self, path):
        return pathlib.Path(self.root.name, path).read_text()

    def test_lintian_finds_nothing(self):
        self.assertEqual(
            run("lintian", "--fail-on", "error,warning", "--allow-root", "--tag-display-limit", "0", str(self.package)), ""
        )

    def test_it_needs_libsystemd_libc_and_systemd(self):
        depends = run("dpkg-deb", "--field", str(self.package), "Depends").strip().split(", ")
        self.assertEqual([word.split()[0] for word in depends], ["libc6", "libsystemd0", "systemd"])
        for word, newest in zip(depends, ((2, 31), (247,), (247,)), strict=True):
            version = re.fullmatch(r"\S+ \(>= (\d+(?:\.\d+)*)\)", word)
            self.assertLessEqual(tuple(int(part) for part in version[1].split(".")), newest, word)

    def test_the_program_needs_no_newer_libraries_than_those_of_debian_11(self):
        needed = re.findall(r"Name: (GLIBC|LIBSYSTEMD)_(\S+)", run("readelf", "--version-info", "--wide", AGENT))
        self.assertEqual({library for library, _ in needed}, {"GLIBC", "LIBSYSTEMD"})
        for library, version in needed:
            self.assertRegex(version, r"^[\d.]+$")
            newest = {"GLIBC": (2, 31), "LIBSYSTEMD": (247,)}[library]
            self.assertLessEqual(tuple(int(part) for part in version.split(".")), newest)
        # Packed relocations.
        self.assertNotIn("RELR", run("readelf", "--dynamic", "--wide", AGENT))
        self.assertLessEqual(os.path.getsize(AGENT), 9 * 1024 * 1024)

    def test_the_settings_are_a_conffile_for_root_alone_with_every_variable(self):
        listed = run("dpkg-deb", "--info", str(self.package), "conffiles").split()
        self.assertEqual(listed, ["/etc/default/miosa-agent"])
        path = pathlib.Path(self.root.name, "etc/default/miosa-agent")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        named = re.findall(r"^#?(MIOSA_AGENT_\w+)=", path.read_text(), re.MULTILINE)
        self.assertCountEqual(named, self.variables())
        self.assertNotIn("\nMIOSA", path.read_text())

    def variables(self):
        return set(re.findall(r"MIOSA_AGENT_\w+(?==)", self.help))

    def flags(self):
        return set(re.findall(r"--[a-z-]+", self.help))

    def test_the_manual_page_has_every_flag_variable_and_credential_and_no_fault(self):
        page = pathlib.Path(self.root.name, "usr/share/man/man8/miosa-agent.8.gz")
        self.assertEqual(run("sh", "-c", f"LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z {page} 2>&1 >/dev/null"), "")
        text = run("zcat", str(page)).replace("\\-", "-")
        for word in self.flags() | self.variables() | {"miosa.token", "miosa.computer-id", "miosa.tenant-id"}:
            self.assertIn(word, text)
        self.assertIn(run(AGENT, "--version").strip().removesuffix("\n"), text)

    def test_completion_knows_commands_flags_and_levels(self):
        script = self.root.name + "/usr/share/bash-completion/completions/miosa-agent"

        def complete(*words):
            array = " ".join(f"'{word}'" for word in words)
            return run(
                "bash", "-c", f". {script}; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _miosa_agent\n"
                'printf "%s\\n" "${COMPREPLY[@]}"',
            ).split()

        first = self.flags() - {"--json"} | {"serve", "check", "reload"}
        self.assertEqual(set(complete("miosa-agent", "")), first)
        self.assertEqual(complete("miosa-agent", "check", "--j"), ["--json"])
        self.assertEqual(set(complete("miosa-agent", "check", "--s")), {"--socket", "--state-directory", "--service-user"})
        self.assertEqual(complete("miosa-agent", "--log-level", "w"), ["warning"])
        self.assertEqual(complete("miosa-agent", "--log-level", "=", "d"), ["debug"])
        self.assertEqual(complete("miosa-agent", "--service-user", "roo"), ["root"])

    def test_the_same_sources_give_the_same_package(self):
        with tempfile.TemporaryDirectory(prefix="another-") as another:
            # What a user's environment may change.
            old = os.umask(0o077)
            self.addCleanup(os.umask, old)
            self.assertTrue(filecmp.cmp(self.package, Packages.make(Packages.VERSIONS[0], another), shallow=False))

    def test_the_program_does_not_tell_where_it_was_built(self):
        program = pathlib.Path(self.root.name, "usr/bin/miosa-agent").read_bytes()
        self.assertNotIn(str(REPOSITORY).encode(), program)
        self.assertNotIn(b"RUNPATH", run("readelf", "--dynamic", AGENT).encode())

    def test_the_rpm_has_the_same_version_and_files(self):
        spec = str(REPOSITORY / "packaging" / "rpm" / "miosa-agent.spec")
        parsed = run("rpmspec", "--parse", spec)
        self.assertIn(f"\nVersion:        {run(AGENT, '--version').split()[1]}\n", parsed)
        self.assertRegex(parsed, r"\nRequires: +systemd >= 247\n")
        listed = parsed[parsed.index("\n%files\n"):]
        listed = re.sub("^%dir .*$", "", listed, flags=re.MULTILINE)
        listed = {path.removesuffix("*") for path in re.findall(r" ?(/\S+)$", listed, re.MULTILINE)}
        with tempfile.TemporaryDirectory() as tree:
            run(str(REPOSITORY / "scripts" / "package"), "--binary", AGENT, "--tree", tree)
            found = {f"/{path.relative_to(tree)}" for path in pathlib.Path(tree).rglob("*") if path.is_file()}
        self.assertEqual({path.removesuffix(".gz") for path in found}, listed)
        packaged = {f"/{path.relative_to(self.root.name)}" for path in pathlib.Path(self.root.name).rglob("*")
                    if path.is_file()}
        # What one kind of package has and the other has not.
        self.assertEqual(found - packaged, {"/usr/lib/systemd/system-preset/80-miosa-agent.preset"})
        self.assertEqual(
            {path for path in packaged - found if not path.startswith("/usr/share/doc/")},
            {"/usr/share/lintian/overrides/miosa-agent"},
        )


class PackageMachine(Machine):
    """A machine on which packages are installed."""

    def __init__(self, release):
        super().__init__(release)
        self.name = f"pk-{os.getpid()}-{Machine.count}"

    def up(self):
        self.run("up", self.name, "--release", self.release, "--no-agent")
        settings = dict(line.split("=", 1) for line in self.run("env", self.name).splitlines())
        self.url, self.token, self.socket = (settings[f"AGENT_{name}"] for name in ("URL", "TOKEN", "SOCKET"))
        for number, path in enumerate(Packages.paths(), 1):
            self.put(path.read_bytes(), f"/root/{number}.deb")
        return self

    def put(self, content, path):
        script = f"cat > {path}"
        subprocess.run([*self.command("sh", "-c", script)], input=content, check=True, timeout=PATIENCE_SECONDS)

    def command(self, *command):
        return [str(REPOSITORY / "scripts" / "vm"), "exec", self.name, *command]

    def settings(self):
        """Listens on this machine's own port, because the network is the host's."""
        port = self.url.rpartition(":")[2]
        for unit, address in (("miosa-agent-tcp.socket", "127.0.0.1"), ("miosa-agent-tcp6.socket", "[::1]")):
            directory = f"/etc/systemd/system/{unit}.d"
            text = f"[Socket]\\nListenStream=\\nListenStream={address}:{port}\\n"
            self.shell(f"mkdir -p {directory}; printf '{text}' > {directory}/own.conf")

    def install(self, number=1):
        return self.exec("dpkg", "--force-confold", "--install", f"/root/{number}.deb")

    def runs(self, *names):
        """What would change if one of these services had been restarted or touched."""
        services = [self.get(name) for name in names]
        return [[service[field] for field in ("id", "pid", "invocation_id", "restarts", "status")] for service in services]

    def states(self, verb):
        return self.exec("systemctl", verb, *UNITS, check=False).split()

    def has_vsock(self):
        return self.shell("test -e /dev/vsock && echo yes", check=False) != ""


class PackageCase(MachineTestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = PackageMachine(cls.release)
        cls.addClassCleanup(cls.machine.down)
        cls.machine.up()

    def setUp(self):
        self.machine.settings()
        self.addCleanup(self.machine.exec, "dpkg", "--purge", "miosa-agent")

    def assert_works(self):
        self.assertEqual(self.machine.states("is-enabled"), ["enabled"] * len(UNITS))
        states = dict(zip(UNITS, self.machine.states("is-active"), strict=True))
        self.assertEqual(states.pop("miosa-agent-vsock.socket") == "active", self.machine.has_vsock())
        self.assertEqual(set(states.values()), {"active"}, states)
        self.assertEqual(self.machine.call("GET", "/v1", tcp=True).status, 200)
        self.assertEqual(self.machine.call("GET", "/healthz").status, 200)
        self.assertEqual(self.machine.call("GET", "/v1", tcp=True).status, 200)


class Life(PackageCase):
    def user(self):
        return self.machine.shell("getent passwd user; getent group user; stat -c '%n %U %G %a %Z' /home/user /home/user/.*")

    def files(self):
        """The files of the machine with their contents; not those of which a package's life is the purpose."""
        listed = self.machine.shell(
            "find / /run -xdev \\( -path /proc -o -path /sys -o -path /var/lib/dpkg -o -path /var/log -o -path /tmp "
            "-o -path /root -o -path /run/systemd -o -path /run/log -o -path /var/tmp -o -path /run/udev "
            "-o -path /home/user \\) -prune -o \\( -type f -o -type l -o -type d -o -type s \\) "
            "-printf '%p %y %m %u %g %l '  \\( -type f -path '/etc/*' -exec md5sum {} \\; -o -printf '\\n' \\)"
        )
        return set(listed.splitlines())

    def test_installed_it_works_and_touches_nobody(self):
        before = self.user()
        self.machine.install()
        self.assert_works()
        self.assertEqual(self.user(), before)
        self.assertEqual(self.machine.exec("stat", "-c", "%a %U", "/etc/default/miosa-agent"), "600 root\n")
        self.assertEqual(self.machine.exec("stat", "-c", "%a %G", "/run/miosa-agent/api.sock"), "660 miosa-agent\n")
        self.machine.create("web", "sleep 1001")
        self.machine.wait("web", status="running")
        runs = self.machine.runs("web")
        # Again, as somebody does who wants to be sure.
        self.machine.install()
        self.assert_works()
        self.assertEqual(self.machine.runs("web"), runs)
        self.machine.run("reboot", self.machine.name)
        self.assert_works()
        self.machine.wait("web", status="running")

    def test_an_account_is_made_where_there_is_none_and_services_run_as_it(self):
        self.machine.shell("cp -a /etc/passwd /etc/shadow /etc/group /etc/gshadow /root/; userdel --remove user 2>&1")
        self.addCleanup(
            self.machine.shell,
            "cd /root; mv passwd shadow group gshadow /etc/; rm -rf /home/user; mkdir -m 755 /home/user; chown user: /home/user",
        )
        self.machine.install()
        _, _, uid, _, _, home, shell = self.machine.exec("getent", "passwd", "user").strip().split(":")
        self.assertLess(int(uid), 1000)
        self.assertEqual((home, shell), ("/home/user", "/bin/bash"))
        self.assertEqual(self.machine.exec("stat", "-c", "%U %G %a", home, f"{home}/.profile"),
                         "user user 700\nuser user 644\n")
        # It has no password.
        self.assertRegex(self.machine.exec("getent", "shadow", "user"), r"^user:[!*]+:")
        self.machine.create("web", "touch here; exec sleep 1001")
        self.machine.wait("web", status="running")
        eventually(lambda: "user" in self.machine.shell("stat -c %U /home/user/here 2>&1", check=False), "a file in the home")
        # What its owner has made of it stays.
        self.machine.shell("chmod 750 /home/user")
        self.machine.install(2)
        self.assertEqual(self.machine.exec("stat", "-c", "%a", home), "750\n")

    def test_removed_it_leaves_services_and_records_and_finds_them_again(self):
        self.machine.install()
        self.machine.create("web", "sleep 1001", env={"SECRET": "value"})
        self.machine.create("worker", "exec sleep 1002")
        self.machine.create("stopped", "sleep 1003")
        for name in ("web", "worker", "stopped"):
            self.machine.wait(name, status="running")
        self.machine.call("POST", "/v1/services/stopped/stop")
        self.machine.exec("dpkg", "--remove", "miosa-agent")
        self.assertEqual(self.machine.states("is-active"), ["inactive"] * len(UNITS))
        self.assertEqual(self.machine.shell("ls /run/miosa-agent"), "")
        self.assertEqual(self.machine.exec("systemctl", "is-active", "miosa-service-web", "miosa-service-worker"),
                         "active\nactive\n")
        self.assertEqual(self.machine.shell("cd /var/lib/miosa-agent/services; ls").split(),
                         ["stopped.json", "web.json", "worker.json"])
        # What the units name is there without the package, also for a new start.
        for name in ("web", "worker"):
            self.machine.exec("systemctl", "restart", unit_of(name))
        pids = [self.machine.property(unit_of(name), "MainPID") for name in ("web", "worker")]
        self.machine.install()
        self.assert_works()
        self.assertEqual([str(self.machine.get(name)["pid"]) for name in ("web", "worker")], pids)
        self.assertEqual(self.machine.get("stopped")["status"], "stopped")

    def test_launchers_stay_as_long_as_a_unit_names_them(self):
        self.machine.install()
        directory = "/usr/lib/miosa-agent"
        self.machine.shell(f"cd {directory}; for number in 7001 7002 7003 7004; do cp launch-1 launch-$number; done")
        # One is named by a unit file, one by what systemd has loaded of a unit whose file is another one by now, and one
        # by a drop-in.
        unit = "[Service]\nExecStart=:{} x / sleep 1000\n"
        for name, launcher in (("file", f"{directory}/launch-7001"), ("loaded", f"{directory}/launch-7002")):
            self.machine.shell(f"printf '{unit.format(launcher)}' > /etc/systemd/system/{unit_of(name)}")
        self.addCleanup(self.machine.shell, "rm -f /etc/systemd/system/miosa-service-{file,loaded}.service")
        self.machine.exec("systemctl", "start", unit_of("loaded"))
        self.addCleanup(self.machine.exec, "systemctl", "stop", unit_of("loaded"), check=False)
        self.machine.shell(f"printf '{unit.format(directory + '/launch-1')}' > /etc/systemd/system/{unit_of('loaded')}")
        drop_in = f"/etc/systemd/system/{unit_of('dropped')}.d"
        self.machine.shell(f"mkdir {drop_in}; printf '{unit.format(directory + '/launch-7004')}' > {drop_in}/own.conf")
        self.addCleanup(self.machine.shell, f"rm -rf {drop_in}")
        self.machine.install(2)
        left = self.machine.shell(f"cd {directory}; ls -d launch-*").split()
        self.assertEqual(left, ["launch-1", "launch-7001", "launch-7002", "launch-7004"])
        # When nothing names them any more, the next installation removes them.
        self.machine.exec("systemctl", "stop", unit_of("loaded"))
        self.machine.shell(f"rm /etc/systemd/system/{unit_of('file')} /etc/systemd/system/{unit_of('loaded')}")
        self.machine.shell(f"rm -r {drop_in}")
        self.machine.exec("systemctl", "daemon-reload")
        self.machine.install(1)
        self.assertEqual(self.machine.shell(f"cd {directory}; ls -d launch-*").split(), ["launch-1"])
        self.assertNotIn("launch-1\n", self.machine.exec("dpkg", "-L", "miosa-agent").replace("current/launch-1", ""))

    def test_purged_it_has_never_been_there(self):
        self.machine.install()
        # The account and the group stay, as Debian's policy has it.
        self.machine.exec("dpkg", "--purge", "miosa-agent")
        before = self.files()
        self.machine.settings()
        self.machine.install()
        self.machine.create("web", "trap '' TERM; sleep 1001; sleep 1001", env={"SECRET": "value"})
        self.machine.create("elsewhere", "exec sleep 1002")
        self.machine.create("broken", "exit 3", restart="no")
        self.machine.create("removed", "exec sleep 1004")
        self.machine.wait("web", status="running")
        self.machine.wait("elsewhere", status="running")
        self.machine.wait("broken", status="failed")
        self.machine.delete("removed")
        self.machine.shell(
            "cd /etc/systemd/system; mkdir miosa-service-elsewhere.service.d\n"
            "printf '[Service]\\nSlice=system.slice\\n' > miosa-service-elsewhere.service.d/own.conf; systemctl daemon-reload"
        )
        self.machine.call("POST", "/v1/services/elsewhere/restart?wait=ready")
        self.assertNotIn("miosa-services.slice", self.machine.exec("systemctl", "status", "miosa-service-elsewhere"))
        pids = [self.machine.get(name)["pid"] for name in ("web", "elsewhere")]
        reloads = self.machine.reloads()
        self.machine.exec("dpkg", "--purge", "miosa-agent")
        # After the removal, of deb-systemd-helper, and for all that the purge has taken away.
        self.assertEqual(self.machine.reloads() - reloads, 3)
        self.assertEqual(self.files() ^ before, set())
        # But the mount by which the agent's socket can be reached from outside.
        self.assertEqual(self.machine.exec("systemctl", "list-units", "--all", "--no-legend", "miosa*"), "")
        self.assertEqual(self.machine.exec("systemctl", "list-unit-files", "--no-legend", "*miosa*", check=False), "")
        for pid in pids:
            self.assertEqual(self.machine.shell(f"cat /proc/{pid}/comm", check=False).count("sleep"), 0)
        # Once more, as some tools do.
        self.machine.exec("dpkg", "--purge", "miosa-agent")
        self.machine.settings()
        self.machine.install()
        self.assert_works()
        self.assertEqual(self.machine.call("GET", "/v1/services").data, [])

    def test_in_an_image_where_nothing_runs(self):
        # The machine's own root under an overlay: systemd is not to be seen there.
        self.machine.shell(
            "cd /tmp; mkdir -p image; mount -t tmpfs none image; cd image; mkdir upper work root\n"
            "mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work none root; mount -t proc none root/proc\n"
            "rm -rf root/etc/default/miosa-agent root/etc/systemd/system/miosa-agent-*"
        )
        self.addCleanup(self.machine.shell, "umount -R /tmp/image; rmdir /tmp/image")
        image = ["chroot", "/tmp/image/root"]
        self.machine.exec(*image, "dpkg", "--install", "/root/1.deb")
        listed = self.machine.exec(*image, "find", "/etc/systemd/system", "-name", "miosa*", "-printf", "%P\n")
        self.assertCountEqual(
            listed.split(),
            ["multi-user.target.wants/miosa-agent.service", "sockets.target.wants/miosa-agent.socket",
             "sockets.target.wants/miosa-agent-tcp.socket", "sockets.target.wants/miosa-agent-tcp6.socket",
             "sockets.target.wants/miosa-agent-vsock.socket"],
        )
        self.assertIn("miosa-agent:", self.machine.exec(*image, "getent", "group", "miosa-agent"))
        self.assertEqual(self.machine.exec(*image, "stat", "-c", "%a", "/var/lib/miosa-agent"), "700\n")
        self.machine.exec(*image, "dpkg", "--install", "/root/2.deb")
        self.machine.exec(*image, "dpkg", "--remove", "miosa-agent")
        self.machine.exec(*image, "dpkg", "--install", "/root/1.deb")
        self.machine.exec(*image, "dpkg", "--purge", "miosa-agent")
        left = "find / -xdev -path /var/lib/dpkg -prune -o -path /root -prune -o -name '*miosa*' -print"
        self.assertEqual(self.machine.exec(*image, "sh", "-c", left), "")
        self.assertEqual(self.machine.states("is-active"), ["inactive"] * len(UNITS))


class Client(threading.Thread):
    """Does something over and over until it is told to stop, and remembers what went wrong and what took longest."""

    def __init__(self, act):
        super().__init__(daemon=True)
        self.act = act
        self.count = 0
        self.longest = 0
        self.failures = []
        self.enough = threading.Event()
        self.start()

    def run(self):
        while not self.enough.is_set():
            begin = time.monotonic()
            try:
                self.act()
            except Exception as error:
                self.failures.append(repr(error))
                time.sleep(0.1)
            self.longest = max(self.longest, time.monotonic() - begin)
            self.count += 1

    def end(self):
        self.enough.set()
        self.join(PATIENCE_SECONDS)
        return self


class Follower(threading.Thread):
    """Follows a stream, and goes on with Last-Event-ID whenever it has ended."""

    def __init__(self, machine, path):
        super().__init__(daemon=True)
        self.machine = machine
        self.path = path
        # The events of each connection.
        self.parts = []
        self.failures = []
        self.enough = threading.Event()
        self.start()

    def run(self):
        last = None
        while not self.enough.is_set():
            part = []
            self.parts.append(part)
            try:
                headers = {"Last-Event-ID": last} if last else {}
                with self.machine.stream(self.path, SSE, headers) as stream:
                    if stream.status != 200:
                        raise AssertionError(f"{stream.status} {stream.response.read()}")
                    while (event := stream.event()) is not None:
                        part.append(event)
                        last = event.get("id", last)
                        if self.enough.is_set():
                            return
            except Exception as error:
                self.failures.append(repr(error))
                return


class Upgrade(PackageCase):
    # How often it goes to the newer version and back.
    ROUNDS = 2

    def setUp(self):
        super().setUp()
        self.machine.install()

    def expect(self, method, path, *statuses, **options):
        reply = self.machine.call(method, path, **options)
        if reply.status not in statuses:
            raise AssertionError(f"{method} {path}: {reply}")
        return reply

    def clients(self):
        made = self.made = []

        def make_and_delete():
            name = f"load-{len(made)}"
            self.expect("POST", "/v1/services", 201, body={"name": name, "command": "exec sleep 1009"})
            self.expect("DELETE", f"/v1/services/{name}", 200)
            made.append(name)

        def make_to_stay():
            name = f"stays-{len(self.staying)}"
            self.expect("POST", "/v1/services", 201, body={"name": name, "command": "exec sleep 1010"})
            self.staying.append(name)
            time.sleep(0.3)

        self.staying = []
        return {
            "list": Client(lambda: self.expect("GET", "/v1/services", 200)),
            "read": Client(lambda: self.expect("GET", "/v1/services/web", 200)),
            "ready": Client(lambda: self.expect("GET", "/readyz", 200)),
            "restart": Client(lambda: self.expect("POST", "/v1/services/restarted/restart", 200)),
            "delete": Client(make_and_delete),
            "create": Client(make_to_stay),
        }

    def test_under_load_up_and_down_nobody_is_refused_and_nothing_is_lost(self):
        machine = self.machine
        machine.create("web", "exec sleep 1001")
        machine.create("count", 'n=0; while n=$((n + 1)); do echo "$n"; sleep 0.02; done')
        machine.create("restarted", "exec sleep 1002")
        names = ("web", "count")
        for name in (*names, "restarted"):
            machine.wait(name, status="running")
        runs = machine.runs(*names)
        sockets = machine.property("miosa-agent.socket", "ActiveEnterTimestampMonotonic")
        agents = {machine.property("miosa-agent.service", "MainPID")}
        events = Follower(machine, "/v1/events")
        lines = Follower(machine, "/v1/services/count/logs?tail=all&follow=true")
        clients = self.clients()
        took = []
        for number in [2, 1] * self.ROUNDS:
            counts = {name: client.count for name, client in clients.items()}
            begin = time.monotonic()
            machine.install(number)
            took.append(time.monotonic() - begin)
            self.assertEqual(machine.exec("dpkg-query", "-W", "-f", "${Version}", "miosa-agent"),
                             Packages.VERSIONS[number - 1])
            agents.add(machine.property("miosa-agent.service", "MainPID"))
            eventually(lambda: all(client.count > counts[name] + 1 or client.failures for name, client in clients.items()),
                       "every client has been answered by the new agent")
        for client in clients.values():
            client.end()
        for follower in (events, lines):
            eventually(lambda: len(follower.parts) > 2 * self.ROUNDS and follower.parts[-1] or follower.failures,
                       "the follower has come back")
            follower.enough.set()
        # Makes both of them say something once more.
        machine.call("POST", "/v1/services/restarted/restart")
        events.join(PATIENCE_SECONDS)
        lines.join(PATIENCE_SECONDS)

        longest = {name: round(client.longest, 2) for name, client in clients.items()}
        print(f"longest waits in s: {longest}; requests: {sum(client.count for client in clients.values())}; "
              f"dpkg took {[round(seconds, 1) for seconds in took]} s", flush=True)
        self.assertEqual({name: client.failures for name, client in clients.items() if client.failures}, {})
        self.assertEqual(events.failures + lines.failures, [])
        self.assertLess(max(longest.values()), max(WAIT_LIMIT_SECONDS, *took))
        # Each installation was another agent behind the same socket, and no service has noticed.
        self.assertEqual(len(agents), 2 * self.ROUNDS + 1)
        self.assertEqual(machine.property("miosa-agent.socket", "ActiveEnterTimestampMonotonic"), sockets)
        self.assertEqual(machine.runs(*names), runs)
        self.assertEqual({service["name"] for service in machine.call("GET", "/v1/services").data},
                         {*names, "restarted", *self.staying})
        self.assertEqual(len(lines.parts), 2 * self.ROUNDS + 1)
        numbers = [int(event["data"]["line"]) for part in lines.parts for event in part if event["data"].get("line")]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assert_told(events)

    def assert_told(self, follower):
        """Checks that every change was told once and in order, and that an agent that does not know said so."""
        self.assertEqual(len(follower.parts), 2 * self.ROUNDS + 1)
        ids = []
        for number, part in enumerate(follower.parts):
            kinds = [event["event"] for event in part]
            # No agent knows another's events: it says that there is a gap, and tells what there is.
            self.assertEqual(kinds.count("gap"), min(number, 1))
            ready = kinds.index("ready")
            status = {event["data"]["service"]["name"]: event["data"]["service"]["status"] for event in part[:ready]
                      if event["event"] == "service"}
            self.assertLessEqual({"web", "count", "restarted"}, set(status))
            for event in part[ready + 1:]:
                name = event["data"]["service"]["name"]
                self.assertEqual(event["data"]["previous_status"], status.get(name), event)
                status[name] = event["data"]["service"]["status"]
            ids += [event["id"] for event in part[ready:]]
        self.assertEqual([id for id, count in collections.Counter(ids).items() if count > 1], [])

    def test_what_the_administrator_has_disabled_stays_so(self):
        self.machine.exec("systemctl", "disable", "--now", *UNITS)
        self.machine.install(2)
        self.assertEqual(self.machine.states("is-enabled"), ["disabled"] * len(UNITS))
        self.assertEqual(self.machine.states("is-active"), ["inactive"] * len(UNITS))
        self.machine.exec("systemctl", "enable", "--now", *UNITS)
        self.machine.install(1)
        self.assert_works()


class BullseyeLife(Life):
    release = "bullseye"


class BullseyeUpgrade(Upgrade):
    release = "bullseye"
    ROUNDS = 1


class TrixieLife(Life):
    release = "trixie"


class TrixieUpgrade(Upgrade):
    release = "trixie"


if __name__ == "__main__":
    unittest.main()
