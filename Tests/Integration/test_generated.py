"""The unit says exactly what the spec says, whatever that is: generated specs against a real systemd.

GENERATED_SEED repeats a run, GENERATED_INDEX one case of it, GENERATED_CASES sets how many there are, GENERATED_RELEASE on
which release of Debian.
"""

import json
import os
import random
import re
import shlex
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from proof import STATE_DIRECTORY, UNIT_DIRECTORY, Client, Inside, ProofCase, seeded, unit_of
from support import PATIENCE_SECONDS

CASES = int(os.environ.get("GENERATED_CASES") or 800)
BATCH = 100
CONNECTIONS = 6
# So many wrong cases are shown in full.
PRINTED = 10

COMMAND_LIMIT = 64 * 1024
RELEASE = os.environ.get("GENERATED_RELEASE") or "bookworm"
VALUE_LIMIT = 64 * 1024
ENVIRONMENT_LIMIT = 128 * 1024
PATH_LIMIT = 4095

# --- What a unit file consists of -------------------------------------------------------------------------------------

# Stand for the lines of the fields that a spec need not have: commands beside its own, their directory, and all others.
STEPS, DIRECTORY, OPTIONS = ("Steps", ""), ("Directory", ""), ("Options", "")
# Each section's lines; None stands for a value that only the process itself can show to be right.
DIRECTIVES = {
    "Unit": [
        ("Description", "Service {name}"), ("After", "network-online.target"), OPTIONS, ("RequiresMountsFor", None),
    ],
    "Service": [
        ("Type", "exec"), ("ExecStart", None), STEPS, ("User", "{user}"), ("WorkingDirectory", None),
        ("EnvironmentFile", STATE_DIRECTORY + "/environment/{name}.env"),
        ("LoadCredential", "launch:" + STATE_DIRECTORY + "/environment/{name}.env"),
        DIRECTORY, ("Restart", "{restart}"), OPTIONS, ("IgnoreSIGPIPE", "no"),
        ("NotifyAccess", "{notify_access}"), ("Slice", "miosa-services.slice"), ("IOAccounting", "yes"),
        ("SyslogIdentifier", "miosa-service-{name}"), ("SyslogLevelPrefix", "no"),
        ("LogExtraFields", "MIOSA_SERVICE_ID={id}"),
    ],
    "Install": [("WantedBy", "multi-user.target")],
}
SANDBOX = [
    ("NoNewPrivileges", "yes"), ("ProtectKernelTunables", "yes"), ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"), ("ProtectControlGroups", "yes"), ("ProtectClock", "yes"), ("ProtectHostname", "yes"),
    ("PrivateDevices", "yes"), ("RestrictSUIDSGID", "yes"), ("RestrictRealtime", "yes"), ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"), ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ("SystemCallErrorNumber", "EPERM"), ("ProtectSystem", "full"),
    ("CapabilityBoundingSet", "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL"
     " CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT"),
    ("SystemCallFilter", "~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap"),
]
# What systemd shows of a command: the launcher, with the directory and the command, or without them where systemd takes
# one of the texts for none, and they are read from a file.
SHOWN = "{setting}={{ path=/usr/lib/miosa-agent/launch-1 ; argv[]=/usr/lib/miosa-agent/launch-1 "
COMMAND_SHOWN = SHOWN + "{options}miosa-service-{name} {cwd} {command}"
CREDENTIAL_SHOWN = SHOWN + "{options}{kept}--credential{number} miosa-service-{name}"
# Properties that say how a unit is doing and not what it is.
PASSING = re.compile(
    "Timestamp|PID|Usage|Current|Peak|Available|^IO|^IP.*(gress|Packets|Bytes)|^ExecMain|Invocation|NRestarts|"
    "^ControlGroup|^[UG]ID$|^Job|^StateChange|^Memory(Swap|ZSwap)|^FileDescriptor|^Effective|"
    "^RestartUSecNext|^CanLiveMount"
)
# Properties that differ from case to case and are compared one by one, or whose values the process itself shows.
DIFFERENT = {
    "Id", "Names", "Description", "FragmentPath", "EnvironmentFiles", "LogExtraFields", "Restart", "User",
    "SyslogIdentifier",
}
# The same for a spec with a sandbox, whose lines are compared one by one.
SANDBOXED = re.compile(
    "^(Protect|Private|Restrict|SystemCall|Capability|NoNewPrivileges|LockPersonality|Device|ReadWritePaths|Wants|"
    "After|Requires|RootImage|Mount|Delegate)"
)
SHOWN_BY_THE_PROCESS = {"ExecStart", "ExecStartEx", "WorkingDirectory", "RequiresMountsFor", "WantsMountsFor"}
OTHER_COMMANDS = [
    command + suffix
    for command in ("ExecCondition", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost")
    for suffix in ("", "Ex")
]

# --- What is generated ------------------------------------------------------------------------------------------------

SHELL = [*"'\"`$;|&<>*?[]~#!(){}\\", "$HOME", "${x}", "$$", "$(id)", "&&", "<<X", "$'\\n'", "\\\n"]
SYSTEMD = [
    "%", "%%", "%n", "%h", "%i", "%%n", "%u%", "\\", "\\\\", "\\n", "\\x41", "\\101", "\\u00e9", "\\s", " \\\n",
    "\\\r\n", "\n[Service]\n", "[Unit]", "\nExecStartPre=/bin/false\n", "\nUser=root\n", "\nEnvironment=X=y\n", "\n\n",
    "\n#", "\n;", " ; ", "=", ":", "@", "-", "+", "!", "!!", "|", "^", "\n.include /etc/passwd\n", '" "', '"', "'",
    "\\\"", "EOF",
]
CONTROL = [chr(code) for code in [*range(1, 32), 127]] + ["\r\n", "\n", "\n", "\t", "\r"]
# Code points that are Unicode and that systemd takes for no text.
NONCHARACTERS = ["\ufffe", "\uffff", "\ufdd0", "\ufdef", "\U0001fffe", "\U0010ffff"]
UNICODE = [
    "é", "\x80", "\x85", "\xa0", "\u07ff", "\u0800", "\u2028", "\u2029", "\u200b", "\u202e", "\ufeff", "\ufffd",
    "\ud7ff", "\ue000", "\U00010000", "\U000e0001", "🎉", "e\u0301", "a\u0310\u0323", "\u0301",
    "👩\u200d👩\u200d👧", "日本", "ﷺ", "ǆ", *NONCHARACTERS,
]
# What is one character to a reader and more than one to systemd.
CLUSTERS = [special + mark for special in "%%\"\\'$;#= \t[" for mark in ("\u0301", "\u200d", "\ufe0f", "\u20dd")]
BLANKS = [" ", "  ", "\t", " "]
WORDS = ["a", "Z9", "word", "/bin/false", "x=y", "--", "-n", "0", "\"", "'"]
KINDS = [SHELL, SYSTEMD, SYSTEMD, CONTROL, UNICODE, UNICODE, CLUSTERS, BLANKS, WORDS]

# A shell that has ended in its first line reads no other.
ENDED = "exit 0\n"
# The file of variables, and what a process has of it.
ENV_FILE = "/srv/generated.env"
FILE_TEXT = "# Variables\nexport from_file='a  b' \nFROM_FILE = \\c\\\n d\nq=\"$x\"\n"
FROM_FILE = {"from_file": "a  b", "FROM_FILE": "c d", "q": "$x"}
# A shell that is asleep in its first lines never reads what comes after them.
ASLEEP = "sleep 1000; exit\n"
# Commands of one byte and little more, around a program whose name is `a`.
SHORT = ["a;", "a\n", "\na", "a #", "a&&a", "'a'", '"a"', "\\a", "a\\\n", "a $0", "a *", "a;a", "(a)", "a\r;a"]
SHORT_AND_PLAIN = ["a", " a", "a ", "\ta", "a %", "a %n", "a %%", "a @", "a =", "a :", "a -", "a ,"]
PLAIN_WORDS = [
    "%", "%%", "%n", "%h%i", "@x", ":x", "-x", "+x", "=", "a=b", "x", ".", "/", "//", ",", "100%", "--", "_", "%%%",
    "-", "@", "User=root", "9", "a/b", "A:B@C",
]
USUAL_NAMES = ["HOME", "LANG", "SHELL", "LOGNAME", "TERM", "_", "a", "INVOCATION_ID", "ExecStart", "User", "x1"]


class Case:
    """A spec and what has to come of it. Depends on nothing but the seed and the index."""

    def __init__(self, seed, index):
        self.index = index
        self.random = random.Random(f"{seed}/{index}")
        tail = "-" * self.random.choice([0, 0, 0, 1, 3]) + "x" * self.random.choice([0, 0, 1, 40])
        self.name = f"g{index}{tail}".rstrip("-")
        self.command, self.argv = self.random.choices([self.shell, self.plain, self.short], [75, 18, 7])[0]()
        self.env = self.environment()
        self.cwd = self.directory()
        if self.random.random() < 0.8:
            # Else too few are left whose unit file has it all.
            self.env = {name: "".join(filter(is_carried, value)) for name, value in self.env.items()}
            self.cwd = "".join(filter(is_carried, self.cwd))
            self.command = "".join(filter(is_carried, self.command))
            self.argv = ["".join(filter(is_carried, word)) for word in self.argv]
        self.restart = self.random.choice(["always", "on-failure", "no"])
        self.options()
        self.user = self.random.choices(["user", "daemon", "root"], [8, 1, 1])[0]

    @property
    def body(self):
        spec = {
            "name": self.name, "command": self.command, "env": self.env, "cwd": self.cwd, "restart": self.restart,
            "user": self.user, **self.given,
        }
        # Both ways to write a character down; only the short one keeps the longest specs below the limit of a body.
        is_long = len(self.command) + len(self.cwd) + sum(map(len, self.env.values())) > 20000
        return json.dumps(spec, ensure_ascii=not is_long and self.random.random() < 0.5).encode()

    def options(self):
        """The fields that a spec need not have: what is given, what the API shows of it, the lines of the unit file,
        and what systemd shows of them."""
        self.given, self.shown, self.properties = {}, {}, {}
        self.lines = {"Unit": [], "Service": []}
        some = self.random.choice([0, 0, 0.2, 0.5, 1])

        def wanted():
            return self.random.random() < some

        def give(key, value, shown=None):
            self.given[key] = value
            self.shown[key] = value if shown is None else shown

        def add(section, key, value, **properties):
            self.lines[section].append((key, value))
            self.properties.update(properties)

        if wanted():
            text = "".join(letter for letter in self.text(256) if is_carried(letter) and letter.isprintable())
            ends = ["", "", " ", "\\"]
            text = self.random.choice(ends) + self.cut(text, 250) + self.random.choice(ends)
            give("description", text)
            if text:
                doubled = text.replace("%", "%%")
                begin = "%i" if text[0] == " " else ""
                end = "%i" if text[-1] in " \\" else ""
                add("Unit", "Description", begin + doubled + end, Description=text)
        if wanted():
            give("enabled", self.random.choice([True, False]))
            self.properties["UnitFileState"] = "enabled" if self.given["enabled"] else "disabled"
        if wanted():
            give("network", True)
            add("Unit", "Wants", "network-online.target", Wants="network-online.target")
        # For a short command bash does without a process of its own.
        if wanted() and ASLEEP in self.command:
            give("shell", "bash")
            self.argv[0] = "/bin/bash"
        self.group = None
        if wanted():
            self.group = self.random.choice(["adm", "daemon", "nogroup"])
            give("group", self.group)
            add("Service", "Group", self.group, Group=self.group)
        if wanted():
            mask = self.random.choice(["0027", "077", "000", "0777"])
            give("umask", mask)
            add("Service", "UMask", mask, UMask=mask.zfill(4))
        if wanted():
            name, number = self.random.choice([("INT", 2), ("SIGQUIT", 3), ("SIGUSR1", 10), ("RTMIN+3", 37)])
            full = name if name.startswith("SIG") else "SIG" + name
            give("stop_signal", name, full)
            add("Service", "KillSignal", full, KillSignal=str(number), RestartKillSignal=str(number))
        seconds = self.random.choice([0, 1, 7, 59]) if wanted() else 10
        if seconds != 10:
            give("stop_timeout", seconds)
        text = str(seconds) if seconds else "1us"
        shown = text if text.endswith("us") else text + "s"
        add("Service", "TimeoutStopSec", text, TimeoutStopUSec=shown, TimeoutAbortUSec=shown)
        if wanted() and self.argv[0] == "tail":
            give("stop_mode", "main")
            add("Service", "KillMode", "mixed", KillMode="mixed")
        if wanted():
            give("reload_signal", "SIGHUP")
        seconds = self.random.choice([5, 30, 59]) if wanted() else 60
        if seconds != 60:
            give("start_timeout", seconds)
        add("Service", "TimeoutStartSec", str(seconds), TimeoutStartUSec=f"{seconds}s" if seconds < 60 else "1min")
        seconds = self.random.choice([0, 2, 59]) if wanted() else 1
        if seconds != 1:
            give("restart_delay", seconds)
        add("Service", "RestartSec", str(seconds), RestartUSec=f"{seconds}s" if seconds else "0")
        starts, within = (self.random.choice([1, 1000]), self.random.choice([1, 59])) if wanted() else (5, 10)
        if wanted():
            self.given["restart_limit"] = self.shown["restart_limit"] = None
            add("Unit", "StartLimitIntervalSec", "0", StartLimitIntervalUSec="0")
        else:
            if starts != 5:
                give("restart_limit", {"starts": starts, "within": within})
            add("Unit", "StartLimitIntervalSec", str(within), StartLimitIntervalUSec=f"{within}s")
            add("Unit", "StartLimitBurst", str(starts), StartLimitBurst=str(starts))
        if wanted():
            limits = {"memory": None, "cpus": None, "tasks": None, "open_files": None}
            given = {}
            if wanted():
                given["memory"], limits["memory"] = self.random.choice([("512M", 512 << 20), (1 << 30, 1 << 30)])
                add("Service", "MemoryMax", str(limits["memory"]), MemoryMax=str(limits["memory"]))
            if wanted():
                given["cpus"] = limits["cpus"] = self.random.choice([0.5, 2, 0.75])
                percent = round(limits["cpus"] * 100)
                shown = {50: "500ms", 75: "750ms", 200: "2s"}[percent]
                add("Service", "CPUQuota", f"{percent}%", CPUQuotaPerSecUSec=shown)
            if wanted():
                given["tasks"] = limits["tasks"] = 64
                add("Service", "TasksMax", "64", TasksMax="64")
            if wanted():
                given["open_files"] = limits["open_files"] = 4096
                add("Service", "LimitNOFILE", "4096", LimitNOFILE="4096", LimitNOFILESoft="4096")
            give("limits", given, limits)
        self.sandbox = self.random.random() < some * 0.2
        if self.sandbox:
            give("sandbox", "basic")
            self.lines["Service"] += SANDBOX
        if wanted():
            give("writable", ["/srv", "/srv/a b%"])
            self.lines["Service"] += [("ReadWritePaths", "-/srv"), ("ReadWritePaths", '"-/srv/a b%%"')]
            self.properties["ReadWritePaths"] = '-/srv "-/srv/a b%"'
        if wanted():
            give("log_rate_limit", 7)
            add("Service", "LogRateLimitIntervalSec", "1s", LogRateLimitIntervalUSec="1s")
            add("Service", "LogRateLimitBurst", "7", LogRateLimitBurst="7")
        else:
            self.lines["Service"] += [("LogRateLimitIntervalSec", "1us"), ("LogRateLimitBurst", "1000000")]
        self.steps(wanted, give)
        if wanted():
            give("labels", {"team/a.b-c": self.cut(self.text(256), 256)})

    def steps(self, wanted, give):
        """What is executed besides the command, and the file of variables."""
        self.notify_access = "main"
        self.settings = []
        self.lines["Steps"], self.lines["Directory"] = [], []
        if wanted():
            delay = self.given.get("restart_delay", 1)
            if delay:
                limit = self.random.choice([delay, 60, 3600])
                give("restart_max_delay", limit)
                self.notify_access = "exec"
                self.settings.append(("ExecStartPre", f"--delay={delay}:{limit} ", None))
                self.properties |= {"RuntimeDirectoryPreserve": "restart", "NotifyAccess": "exec"}
        for field, setting in (("pre_start", "ExecStartPre"), ("post_stop", "ExecStopPost")):
            if wanted():
                commands = [ENDED + self.text(300) for _ in range(self.random.choice([1, 2, 8]))]
                if self.random.random() < 0.8:
                    commands = ["".join(filter(is_carried, command)) for command in commands]
                give(field, commands)
                self.settings += [(setting, "--control ", command) for command in commands]
        if "restart_max_delay" in self.given:
            self.settings.append(("ExecStopPost", "--ended ", None))
        if wanted():
            give("env_file", self.random.choice([ENV_FILE, [ENV_FILE], ["/dev/null", ENV_FILE]]))
            if self.given["env_file"] == ENV_FILE:
                self.shown["env_file"] = [ENV_FILE]
        if RELEASE == "bullseye" and self.is_scripted:
            # systemd has no credential for a command before the start: the API refuses them.
            for field in ("pre_start", "restart_max_delay"):
                self.given.pop(field, None), self.shown.pop(field, None)
            self.settings = [step for step in self.settings if step[1] == "--control " and step[0] == "ExecStopPost"]
            self.notify_access = "main"
            self.properties.pop("NotifyAccess", None), self.properties.pop("RuntimeDirectoryPreserve", None)
        self.lines["Steps"] = [(setting, None) for setting, _, _ in self.settings]
        self.keeps_credential = "post_stop" in self.given and self.is_scripted
        if self.keeps_credential or "restart_max_delay" in self.given:
            self.lines["Directory"] = [("RuntimeDirectory", "miosa-service-{name}"), ("RuntimeDirectoryMode", "0700")]
            self.properties |= {"RuntimeDirectory": f"miosa-service-{self.name}", "RuntimeDirectoryMode": "0700", "CanClean": "runtime"}
        if "restart_max_delay" in self.given:
            self.lines["Directory"].append(("RuntimeDirectoryPreserve", "restart"))

    def text(self, limit, longest=0.02):
        """Text of at most so many bytes, most of it short."""
        if self.random.random() < longest:
            wanted = self.random.choice([limit, limit, limit - 1, self.random.randint(1, limit)])
            pieces = [self.piece() for _ in range(50)]
            text = "".join(self.random.choices(pieces, k=wanted))
            return self.cut(text, wanted, "x")
        count = self.random.choice([0, 1, 1, 1, 2, 2, 3, 4, 6, 8, 12, 20, 40])
        return self.cut("".join(self.piece() for _ in range(count)), limit)

    def piece(self):
        return self.random.choice(self.random.choice(KINDS))

    def cut(self, text, length, filler=""):
        """The text cut to so many bytes between two characters, and filled up where a filler is given."""
        text = text.encode()[:length].decode(errors="ignore")
        return text + filler * (length - len(text.encode()))

    def shell(self):
        """A command line that the shell has to work on, of which most is never read."""
        start = self.random.choice(
            [
                "", "", "", self.random.choice([" ", "\t", "\n", "\n\n", " \t\n"]),
                "#" + self.text(200).replace("\n", "") + "\n", f": '{self.text(200).replace(chr(39), '')}'\n",
            ]
        ) + ASLEEP
        command = start + self.text(COMMAND_LIMIT - len(start.encode()))
        return command, ["/bin/sh", "-c", command]

    def plain(self):
        """A program and its arguments; it stays, whatever they are."""
        words = ["tail", "-f", "--", "/dev/null", *self.random.choices(PLAIN_WORDS, k=self.random.choice([0, 1, 3, 9]))]
        blanks = [" ", "  ", "\t", " \t "]
        command = "".join(word + self.random.choice(blanks) for word in words)
        return self.random.choice(["", "", *blanks]) + command, words

    def short(self):
        if self.random.random() < 0.5:
            command = self.random.choice(SHORT)
            return command, ["/bin/sh", "-c", command]
        command = self.random.choice(SHORT_AND_PLAIN)
        return command, ["/bin/sh", "/usr/local/bin/a", *command.split()[1:]]

    def environment(self):
        env = {}
        room = ENVIRONMENT_LIMIT
        for _ in range(self.random.choice([0, 0, 1, 1, 2, 3, 5, 8])):
            name = self.random.choice([self.random.choice(USUAL_NAMES), self.variable_name()])
            value = self.text(min(VALUE_LIMIT, room - len(name)), 0.01)
            room -= len(name) + len(value.encode())
            if room > 0 and name not in env:
                env[name] = value
        return env

    def variable_name(self):
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
        length = self.random.choices([1, 3, 20, 1000], [3, 5, 3, 0.2])[0]
        # A prefix of its own, so that it means nothing to a shell or a C library.
        return "q" + "".join(self.random.choices(letters + "0123456789", k=length))

    def directory(self):
        kind = self.random.random()
        if kind < 0.04:
            return self.random.choice(["/", "/usr", "//usr", "/usr/", "/usr/.", "/usr/../usr", "/./usr//", "/.."])
        path = f"/srv/{self.index}"
        if kind < 0.07:
            length = self.random.choice([PATH_LIMIT, PATH_LIMIT, PATH_LIMIT - 1, self.random.randint(300, PATH_LIMIT)])
            while len(path.encode()) < length:
                # No slash is left over for the last byte.
                room = min(length - len(path.encode()) - 1, 255)
                room -= (length - len(path.encode()) - 1 - room) == 1
                # Not a blank or a backslash at the end: with those, the longest one is more than systemd can read.
                path += "/" + self.cut("".join(self.component(5) for _ in range(60)), room - 1, "d") + "d"
            return path
        for _ in range(self.random.choice([1, 1, 2, 3])):
            path += "/" + self.cut(self.component(self.random.choice([1, 1, 2, 3, 5, 10])), 255)
        return path + self.random.choice(["", "", "", "", "/", "//", "/."])

    def component(self, count):
        text = "".join(self.piece() for _ in range(count))
        text = re.sub("[/\n\r]", "", text)
        return text if text not in ("", ".", "..") else "_"

    @property
    def is_scripted(self):
        """Whether systemd takes one of the texts for no text, or does not read the variables."""
        steps = [*self.given.get("pre_start", []), *self.given.get("post_stop", [])]
        texts = [self.command, self.cwd, *self.env.values(), *steps]
        return "env_file" in self.given or not all(map(is_carried, "".join(texts)))

    def expectations(self):
        return {
            "argv": [word.encode().hex() for word in self.argv], "cwd": self.cwd.encode().hex(), "user": self.user,
            "group": self.group, "umask": int(self.given.get("umask", "022"), 8),
            "env": {
                name: value.encode().hex()
                for name, value in ((FROM_FILE if "env_file" in self.given else {}) | self.env).items()
            },
        }

    def __str__(self):
        fields = ("name", "command", "env", "cwd", "restart", "user")
        return ", ".join(f"{field} {shortened(getattr(self, field))}" for field in fields)


def words(value):
    """The value of a property; many are sets and come in any order. The mounts among them follow from the directory."""
    return " ".join(sorted(word for word in value.split(" ") if not word.endswith(".mount")))


def listed(value):
    """The texts of a list as systemctl shows it: those with something special are quoted and escaped."""
    letters = dict(zip("abfnrtv", "\a\b\f\n\r\t\v"))

    def character(match):
        escape = match[1]
        if escape[0] in "01234567" and len(escape) == 3:
            return chr(int(escape, 8))
        return chr(int(escape[1:], 16)) if escape[0] == "x" and len(escape) == 3 else letters.get(escape, escape)

    texts = re.findall(r'"(?:[^"\\]|\\.)*"|[^ ]+', value)
    return [
        re.sub(r"\\([0-7]{3}|x[0-9a-f]{2}|.)", character, text[1:-1]) if text.startswith('"') else text for text in texts
    ]


def is_mountable(path):
    """Whether the name of the path's mount unit is short enough for systemd."""
    return sum(1 if re.match(rb"[a-zA-Z0-9/:_.]", bytes([byte])) else 4 for byte in path.encode()) <= 240


def is_carried(character):
    return not (ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF)


def shortened(value):
    text = ascii(value)
    return text if len(text) < 500 else f"{text[:300]} … {text[-100:]}"


# --- What happens inside ----------------------------------------------------------------------------------------------


class GeneratedInside(Inside):
    # As in support.py, of which nothing is known inside.
    PATIENCE_SECONDS = 120

    def make_directories(self, paths):
        for path in paths:
            os.makedirs(bytes.fromhex(path), exist_ok=True)

    def compare(self, services):
        """Looks at the processes of services; says for each in what it is not as expected."""
        pids = {unit: dict(pairs)["MainPID"] for unit, pairs in self.show(list(services), ["MainPID"]).items()}
        problems = {unit: "systemctl show fails" for unit in services if unit not in pids}
        for unit, pid in pids.items():
            if problem := self.difference(pid, services[unit]):
                problems[unit] = problem
        return problems

    def difference(self, pid, expected):
        argv = b"".join(bytes.fromhex(word) + b"\0" for word in expected["argv"])
        deadline = time.monotonic() + self.PATIENCE_SECONDS
        # In the middle of an exec there is no command line.
        while (process := self.process(pid)) and not process["cmdline"] and time.monotonic() < deadline:
            time.sleep(0.002)
        if process is None:
            return f"no process {pid}"
        # A service that is running is its command, and not the launcher any more.
        if (found := bytes.fromhex(process["cmdline"])) != argv:
            return f"argv is {found[:2000]}"
        variables = dict(pair.split(b"=", 1) for pair in bytes.fromhex(process["environ"]).split(b"\0") if pair)
        for name, value in expected["env"].items():
            if variables.get(name.encode()) != bytes.fromhex(value):
                return f"{name} is {str(variables.get(name.encode()))[:2000]}"
        cwd = bytes.fromhex(process["cwd"])
        if cwd != os.path.realpath(bytes.fromhex(expected["cwd"])):
            return f"cwd is {cwd}"
        if process["uid"] != pwd.getpwnam(expected["user"]).pw_uid:
            return f"uid is {process['uid']}"
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        if int(status["Umask"], 8) != expected["umask"]:
            return f"umask is {status['Umask']}"
        if expected["group"] and int(status["Gid"].split()[0]) != grp.getgrnam(expected["group"]).gr_gid:
            return f"gid is {status['Gid']}"
        return None

    def unit_files(self, units):
        return {unit: self.files(self.UNITS, unit)[f"{self.UNITS}/{unit}"]["bytes"] for unit in units}

    def show_text(self, units, options=()):
        return self.run("systemctl", "show", *options, *units)


# --- The tests --------------------------------------------------------------------------------------------------------


class Generated(ProofCase):
    program = GeneratedInside
    release = RELEASE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine.probe.shell(
            script=f"printf %s {shlex.quote(FILE_TEXT)} > {ENV_FILE}; printf '#!/bin/sh\\nsleep 1000; exit\\n' > /usr/local/bin/a; chmod 755 /usr/local/bin/a"
        )
        # What all units have in common, from two whose specs are harmless and have nothing in common.
        cls.machine.create("left", "sleep 1000", restart="no")
        cls.machine.create("right", "sleep 1000; true", env={"A": "a"}, cwd="/usr", restart="no")
        units = [unit_of("left"), unit_of("right")]
        for name in ("left", "right"):
            cls.machine.wait(name, status="running")
        shown = cls.machine.probe.show_text(units=units, options=["--all"]).strip("\n").split("\n\n")
        left, right = (dict(line.split("=", 1) for line in block.splitlines()) for block in shown)
        properties = {key for key in left if not PASSING.search(key)} - DIFFERENT - SHOWN_BY_THE_PROCESS
        cls.common = {key: words(left[key]) for key in properties}
        different = [key for key in properties if words(right[key]) != cls.common[key]]
        assert not different, different
        assert {"Environment", "KillMode", "Group"} < properties and len(properties) > 150, properties
        for name in ("left", "right"):
            cls.machine.delete(name)

    def setUp(self):
        super().setUp()
        self.clients = [Client(self.machine) for _ in range(CONNECTIONS)]
        for client in self.clients:
            self.addCleanup(client.close)
        self.problems = {}

    def test_the_unit_says_exactly_what_the_spec_says(self):
        _, seed = seeded("GENERATED_SEED")
        one = os.environ.get("GENERATED_INDEX")
        indices = [int(one)] if one else range(CASES)
        printed = scripted = 0
        for start in range(0, len(indices), BATCH):
            batch = [Case(seed, index) for index in indices[start:start + BATCH]]
            self.run_batch(batch)
            scripted += sum(case.is_scripted for case in batch)
            for case in batch:
                if case.index in self.problems and (printed := printed + 1) <= PRINTED:
                    print(f"GENERATED_SEED={seed} GENERATED_INDEX={case.index}: {self.problems[case.index]}")
                    print(f"  {case}")
        print(f"{len(indices)} cases, {scripted} from a file, {len(self.problems)} wrong", flush=True)
        self.assertEqual(len(self.problems), 0, self.problems.keys())
        left = self.machine.probe.snapshot()
        self.assertEqual((left["loaded"], left["processes"], left["units"]), ({}, {}, {}))

    def wrong(self, case, problem):
        self.problems.setdefault(case.index, problem)

    def each(self, cases, call):
        """Calls with a client and a case, for all cases, over several connections."""
        def work(client, share):
            for case in share:
                call(client, case)

        with ThreadPoolExecutor(len(self.clients)) as pool:
            count = len(self.clients)
            list(pool.map(work, self.clients, [cases[number::count] for number in range(count)]))

    def run_batch(self, batch):
        self.probe.make_directories(paths=[case.cwd.encode().hex() for case in batch])
        self.each(batch, self.create)
        created = [case for case in batch if case.index not in self.problems]
        running = self.wait_until_running(created)
        if running:
            self.compare_processes(running)
            self.compare_files(running)
            shown = [case for case in running if case.index not in self.problems]
            self.compare_properties(shown)
            self.compare_commands(shown)
            self.compare_mounts(shown)
            self.compare_after_a_new_start(running)
        self.each(batch, self.delete)

    def create(self, client, case):
        status, answer = client.call("POST", "/v1/services", case.body)
        if status != 201:
            self.wrong(case, f"create: {status} {answer}")
        else:
            case.id = answer["data"]["id"]

    def delete(self, client, case):
        status, answer = client.call("DELETE", f"/v1/services/{case.name}")
        if status != 200:
            self.wrong(case, f"delete: {status} {answer}")

    def wait_until_running(self, cases):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            services = {service["name"]: service for service in self.machine.list()}
            missing = [case for case in cases if services[case.name]["status"] != "running"]
            if not any(services[case.name]["status"] == "starting" for case in missing):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        for case in missing:
            service = services[case.name]
            self.wrong(case, f"it is {service['status']}: {service['message']}")
        for case in cases:
            wanted = {**{field: getattr(case, field) for field in ("command", "env", "cwd", "restart")}, **case.shown}
            for field, value in wanted.items():
                if services[case.name][field] != value:
                    self.wrong(case, f"the API's {field} is {shortened(services[case.name][field])}")
        return [case for case in cases if case not in missing]

    def compare_after_a_new_start(self, cases):
        """An agent that starts anew finds the same services."""
        before = {service["name"]: service for service in self.machine.list()}
        for client in self.clients:
            # They open a new connection for the next request.
            client.close()
        self.probe.shell(script=f"timeout {PATIENCE_SECONDS} systemctl restart miosa-agent.service")
        after = {service["name"]: service for service in self.machine.list()}
        for case in cases:
            if after[case.name] != before[case.name]:
                self.wrong(case, f"after a new start of the agent: {shortened(after[case.name])}")

    def compare_processes(self, cases):
        differences = self.probe.compare(services={unit_of(case.name): case.expectations() for case in cases})
        for case in cases:
            if unit_of(case.name) in differences:
                self.wrong(case, differences[unit_of(case.name)])

    def compare_files(self, cases):
        files = self.probe.unit_files(units=[unit_of(case.name) for case in cases])
        for case in cases:
            problem = self.file_problem(case, bytes.fromhex(files[unit_of(case.name)]))
            if problem:
                self.wrong(case, f"unit file: {problem}")

    def file_problem(self, case, content):
        """In what a unit file does not consist of exactly the expected lines."""
        found, section = {}, None
        for line in content.decode().split("\n"):
            if line.endswith("\\"):
                return f"a line continues: {shortened(line)}"
            # A directory's name is written as it is, for systemd knows no other way, and cannot hold a line's end.
            if re.search(r"[\x00-\x1f\x7f]", line) and not line.startswith(("WorkingDirectory=-/", "RequiresMountsFor=")):
                return f"a control character: {shortened(line)}"
            if re.fullmatch(r"\[\w+\]", line):
                section = line[1:-1]
                found[section] = []
            elif section is None and line and not line.startswith("# "):
                return f"before any section: {shortened(line)}"
            elif section and line:
                found[section].append(tuple(line.split("=", 1)))
        absent = {"LoadCredential"} if not case.is_scripted else {"EnvironmentFile"}
        if not case.env:
            absent.add("EnvironmentFile")
        # systemd has rules of its own for paths; that it is the right directory the process has shown.
        if b"\nWorkingDirectory=" not in content:
            absent |= {"WorkingDirectory", "RequiresMountsFor"}
        if not is_mountable(case.cwd):
            absent.add("RequiresMountsFor")
        expected = {
            section: [
                line
                for key, value in lines if key not in absent
                for line in (
                    case.lines[section] if (key, value) == OPTIONS else
                    [
                        (key, value and value.format(
                            name=case.name, id=case.id, user=case.user, restart=case.restart,
                            notify_access=case.notify_access,
                        ))
                        for key, value in (case.lines[key] if (key, value) in (STEPS, DIRECTORY) else [(key, value)])
                    ]
                )
            ]
            for section, lines in DIRECTIVES.items()
        }
        free = {key for lines in DIRECTIVES.values() for key, value in lines if value is None}
        free |= {"ExecStartPre", "ExecStopPost"}
        found = {
            section: [(line[0], None) if line[0] in free else line for line in lines]
            for section, lines in found.items()
        }
        return None if found == expected else shortened(found)

    def compare_properties(self, cases):
        """What systemd has understood is what it understands of harmless specs, but for what was asked for."""
        shown = {}
        for has_steps in (False, True):
            units = [unit_of(case.name) for case in cases if bool(case.settings) == has_steps]
            # Those commands are compared below: their texts are shown as they are, whatever is in them.
            others = [] if has_steps else OTHER_COMMANDS
            if units:
                shown |= self.probe.show(units=units, properties=[*self.common, *DIFFERENT, *others])
        for case in cases:
            unit = unit_of(case.name)
            expected = {
                **self.common, "Id": unit, "Names": unit, "Description": words(f"Service {case.name}"),
                "Restart": case.restart, "User": case.user, "FragmentPath": f"{UNIT_DIRECTORY}/{unit}",
            }
            file = f"{STATE_DIRECTORY}/environment/{case.name}.env"
            expected["LogExtraFields"] = f"MIOSA_SERVICE_ID={case.id}"
            expected["SyslogIdentifier"] = f"miosa-service-{case.name}"
            if case.env and not case.is_scripted:
                expected["EnvironmentFiles"] = words(f"{file} (ignore_errors=no)")
            # An older systemd lacks some of them.
            expected.update((key, words(value)) for key, value in case.properties.items() if key in expected)
            if "network" in case.given:
                expected["Wants"] = words(f"{self.common['Wants']} network-online.target".strip())
            found = [(key, words(value)) for key, value in shown[unit]]
            if case.sandbox:
                found = [pair for pair in found if not SANDBOXED.search(pair[0])]
                expected = {key: value for key, value in expected.items() if not SANDBOXED.search(key)}
            if sorted(found) != sorted(expected.items()):
                self.wrong(case, f"properties: {shortened(sorted(set(found) ^ set(expected.items())))}")

    def compare_mounts(self, cases):
        """Each waits for the mount of its directory, where systemd takes that for a path."""
        text = self.probe.show_text(units=[unit_of(case.name) for case in cases], options=["--property=RequiresMountsFor"])
        values = [line.removeprefix("RequiresMountsFor=") for line in text.split("\n") if line]
        self.assertEqual(len(values), len(cases))
        for case, value in zip(cases, values):
            parts = [part for part in case.cwd.split("/") if part]
            if {".", ".."} & set(parts) or not all(map(is_carried, case.cwd)) or not is_mountable(case.cwd):
                continue
            path = "/" + "/".join(parts)
            if path not in listed(value):
                self.wrong(case, f"RequiresMountsFor: {shortened(value)}")

    def compare_commands(self, cases):
        """systemd shows each command as it is: so the text is cut up by what it has to be."""
        self.compare_setting("ExecStart", [(case, [("", None, 0)]) for case in cases])
        for setting in ("ExecStartPre", "ExecStopPost"):
            steps = []
            for case in cases:
                own = [(options, command) for found, options, command in case.settings if found == setting]
                # The number of the first one in the credential.
                first = 1 + (len(case.given.get("pre_start", [])) if setting == "ExecStopPost" else 0)
                first -= sum(1 for options, command in own[:1] if command is None)
                steps.append((case, [(*step, first + place) for place, step in enumerate(own)]))
            self.compare_setting(setting, [(case, own) for case, own in steps if own])

    def compare_setting(self, setting, steps):
        if not steps:
            return
        units = [unit_of(case.name) for case, _ in steps]
        rest = self.probe.show_text(units=units, options=[f"--property={setting}"])
        for case, own in steps:
            for options, command, number in own:
                start = self.shown_command(case, setting, options, command, number)
                match = re.match(r" ; ignore_errors=no ; [^\n]*\}\n\n?", rest[len(start):])
                if not rest.startswith(start) or not match:
                    self.wrong(case, f"{setting}: {shortened(rest[:2000])} for {shortened(start)}")
                    return
                rest = rest[len(start) + match.end():]
        if rest:
            self.wrong(steps[-1][0], f"{setting}, more than that: {shortened(rest)}")

    def shown_command(self, case, setting, options, command, number):
        if options and command is None:
            return (SHOWN + "{options}miosa-service-{name}").format(setting=setting, options=options, name=case.name)
        shell = "/bin/bash" if "shell" in case.given else "/bin/sh"
        if command is not None:
            command = f"{shell} -c {command}"
        elif case.argv[1:2] == ["-c"]:
            command = f"{case.argv[0]} -c {case.command}"
        else:
            command = " ".join(case.command.split())
        shown = CREDENTIAL_SHOWN if case.is_scripted else COMMAND_SHOWN
        return shown.format(
            setting=setting, options=options, name=case.name, cwd=case.cwd, command=command,
            number=f"={number}" if number else "",
            kept="--keep-credential " if case.keeps_credential and setting != "ExecStopPost" else "",
        )


if __name__ == "__main__":
    unittest.main()
