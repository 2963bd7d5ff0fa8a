import JSON
import Testing

@testable import Launch
@testable import Services

/// What a person is told of a run that did not come to its command, or that ended in a way that the journal explains.
@Suite struct FailureMessageTests {
    private func service(
        _ active: ActiveState = .failed,
        code: Int = 127,
        mark: String = "",
        diagnosis: Findings? = nil,
        lasting microseconds: Int64 = 1000,
        leavingProcesses: Bool = false,
        _ change: (inout SpecDraft) -> Void = { _ in }
    ) throws -> Service {
        var record = ServiceRecord(id: "id", spec: try Samples.spec(change), createdAt: Timestamp(microseconds: 0))
        var state = UnitState()
        state.activeState = active
        state.subState = active == .activating ? "auto-restart" : "failed"
        state.result = "exit-code"
        state.launchMark = LaunchMark(statusText: mark)
        record.run.startedAt = Timestamp(microseconds: 1)
        record.run.exitedAt = Timestamp(microseconds: 1 + microseconds)
        record.run.ending = .exited(code)
        record.run.leftProcesses = leavingProcesses
        var remarks = Remarks()
        if let diagnosis {
            var evidence = RunDiagnosis.Evidence()
            evidence.setUpFailure = diagnosis.setUp
            evidence.errorLines = diagnosis.lines
            remarks.diagnosis = RunDiagnosis(of: record, evidence, systemPath: "/usr/bin:/bin")
        }
        return Service(record: record, state: state, intent: .none, remarks: remarks)
    }

    private struct Findings {
        var lines: [String] = []
        var setUp: String?
    }

    private func diagnosis(line: String? = nil, setUp: String? = nil) -> Findings {
        Findings(lines: line.map { [$0] } ?? [], setUp: setUp)
    }

    @Test(arguments: [
        (
            "directory 2 (No such file or directory): /srv/x",
            "working directory '/srv/x' does not exist: create it or change cwd"
        ),
        (
            "directory 13 (Permission denied): /root",
            "working directory '/root' cannot be entered by the service's account (permission denied)"
        ),
        (
            "directory 20 (Not a directory): /etc/passwd",
            "working directory '/etc/passwd' is no directory, or a part of the path is none"
        ),
        (
            "env-file 2 (No such file or directory): /etc/x.env",
            "env_file '/etc/x.env' does not exist: create it or change env_file"
        ),
        (
            "env-file 13 (Permission denied): /etc/shadow",
            "env_file '/etc/shadow' cannot be read by the service's account (permission denied)"
        ),
        ("env-file 21 (Is a directory): /etc", "env_file '/etc' is no file"),
        ("env-file 27 (File too large): /a", "env_file '/a' is larger than 1 MiB"),
        ("env-file 74 (Bad message): /a", "env_file '/a' has a NUL byte: it is no text file"),
        ("directory 40 (Too many levels of symbolic links): /a", "working directory '/a' is a loop of symbolic links"),
        (
            "directory 5 (Input/output error): /a",
            "working directory '/a' cannot be entered: Input/output error, errno 5"
        ),
        (
            "search 2 (No such file or directory): server PATH=/opt/a b:/bin",
            "the command 'server' was not found; PATH was /opt/a b:/bin"
        ),
        ("search 2 (No such file or directory): server", "the command 'server' was not found; PATH was not set"),
        ("command 2 (No such file or directory): ./a PATH=b", "the command './a PATH=b' does not exist"),
        (
            "command 13 (Permission denied): /opt/a",
            "the command '/opt/a' cannot be executed by the service's account (permission denied): make it an executable"
                + " file (chmod +x) and let the account reach it"
        ),
        ("command 40 (Too many levels of symbolic links): /a", "the command '/a' is a loop of symbolic links"),
        (
            "command 7 (Argument list too long): /a",
            "the command '/a' cannot be executed: Argument list too long, errno 7"
        ),
        (
            "interpreter 2 (No such file or directory): /usr/bin/python9",
            "the command's interpreter '/usr/bin/python9', which its first line names, does not exist"
        ),
        (
            "line-end 2 (No such file or directory): /opt/a.sh",
            "the first line of '/opt/a.sh' ends with CR LF, so that its interpreter is not found: save the file with LF"
                + " line ends"
        ),
        (
            "loader 2 (No such file or directory): /opt/a",
            "'/opt/a' needs a dynamic loader that does not exist: it was built for another system"
        ),
        (
            "format 8 (Exec format error): /opt/a",
            "'/opt/a' is a program for another kind of machine (Exec format error, errno 8)"
        ),
    ])
    func `the launcher's failure is a sentence`(mark: String, expected: String) throws {
        #expect(try service(mark: "launch: " + mark).message == "\(expected) (exit code 127)")
        let restarting = try service(.activating, mark: "launch: " + mark).message
        #expect(restarting == "\(expected) (exit code 127); systemd starts it again")
    }

    @Test(arguments: [
        "", "ready", "launch: ", "launch: directory", "launch: directory 2", "launch: directory x (a): b",
        "launch: directory 2 (a) b", "launch: somewhere 2 (a): b", "xlaunch: directory 2 (a): b",
    ])
    func `any other status text is nothing of the launcher's`(text: String) {
        #expect(LaunchMark(statusText: text) == nil)
    }

    @Test func `what a program says controls no terminal`() throws {
        let mark = "launch: command 5 (Input/output error): /opt/\u{1B}[2J\u{9B}2J"
        #expect(
            try service(mark: mark).message
                == "the command '/opt/?[2J?2J' cannot be executed: Input/output error, errno 5 (exit code 127)"
        )
        let message = try service(code: 1, diagnosis: diagnosis(line: "a\u{1B}]0;b\u{7}c\u{7F}é")).message
        #expect(message == "exited with code 1; its last line on standard error: a?]0;b?c?é")
    }

    @Test func `a run without a journal says that its output is discarded`() throws {
        let mark = "launch: journal 111 (Connection refused): /run/systemd/journal/stdout"
        let message = try service(.active, mark: mark).message
        #expect(
            message?.hasPrefix("the output of this run is discarded, because journald could not be reached") == true
        )
        // It is no failure of the command.
        #expect(try service(code: 3, mark: mark).message == "exited with code 3")
    }

    @Test func `systemd's own failures are told from the command's by what it wrote`() throws {
        let setUp = diagnosis(setUp: "Failed at step USER spawning /usr/lib/miosa-agent/launch-1: No such process")
        #expect(try service(code: 217, diagnosis: setUp).message == "account 'user' does not exist (systemd 217/USER)")
        let gone = "Failed at step EXEC spawning /usr/lib/miosa-agent/launch-1: No such file or directory"
        let missing = try service(code: 203, diagnosis: diagnosis(setUp: gone)).message
        #expect(missing?.hasPrefix("systemd cannot run the launcher of services: install miosa-agent again") == true)
        let foreign = "Failed at step EXEC spawning /opt/own: No such file or directory"
        #expect(
            try service(code: 203, diagnosis: diagnosis(setUp: foreign)).message
                == "systemd could not set up the process (systemd 203/EXEC): \(foreign)"
        )
        let other = try service(code: 226, diagnosis: diagnosis(setUp: "Failed at step NAMESPACE")).message
        #expect(other == "systemd could not set up the process (systemd 226/NAMESPACE): Failed at step NAMESPACE")
        #expect(try service(code: 217, diagnosis: diagnosis()).message == "exited with code 217")
    }

    @Test(arguments: [
        ("/bin/sh: 1: source: not found", "source"), ("sh: line 1: [[: command not found", "[["),
        ("/bin/sh: 3: /opt/a: not found", "/opt/a"), ("not found", nil), ("a: b", nil), ("", nil),
    ])
    func `the word that a shell did not find is in its last line`(line: String, word: String?) {
        #expect(ServiceMessage.missingWord(in: line) == word)
    }

    @Test func `a word of bash in a POSIX shell is named, with the shell and PATH`() throws {
        let line = "/bin/sh: 1: source: not found"
        let message = try service(diagnosis: diagnosis(line: line)) { $0["command"] = "source x && y" }.message
        #expect(
            message
                == "the shell /bin/sh did not find a command (exit code 127): \(line); 'source' is a word of bash, which"
                + " /bin/sh is not: set shell to 'bash'; PATH was ~user/.local/bin:~user/bin:/usr/bin:/bin:/snap/bin"
        )
        let own = try service(diagnosis: diagnosis(line: "/bin/sh: 1: a: not found")) { draft in
            draft["command"] = "a | b"
            draft["env"] = ["PATH": "/opt"]
        }
        #expect(own.message?.hasSuffix("(exit code 127): /bin/sh: 1: a: not found; PATH was /opt") == true)
        let denied = try service(code: 126, diagnosis: diagnosis()) { $0["command"] = "./a | b" }.message
        #expect(denied == "the shell /bin/sh cannot execute a command (exit code 126): check its permissions")
    }

    @Test func `the last line of standard error goes with an exit code`() throws {
        let message = try service(code: 1, diagnosis: diagnosis(line: "bind: Address already in use")).message
        #expect(message == "exited with code 1; its last line on standard error: bind: Address already in use")
        let long = String(repeating: "x", count: RunDiagnosis.textLengthLimit)
        let whole = try service(code: 1, diagnosis: diagnosis(line: long)).message
        #expect(whole?.hasSuffix("error: \(long)") == true)
        let cut = try service(code: 1, diagnosis: diagnosis(line: long + "x")).message
        #expect(cut?.hasSuffix("error: \(long)…") == true)
    }

    @Test(arguments: [
        "/bin/sh: 1: cannot create /dev/stderr: No such device or address",
        "nginx: [emerg] open() \"/dev/stdout\" failed (6: No such device or address)",
        "Error: ENXIO: no such device or address, open '/dev/stdout'",
        "OSError: [Errno 6] No such device or address: '/proc/self/fd/1'",
    ])
    func `a program that cannot open its standard output is told of the field`(line: String) throws {
        let found = diagnosis(line: line)
        #expect(try service(code: 1, diagnosis: found).message?.hasSuffix("set stdio to 'pipe'") == true)
        // With pipes it is for another reason.
        let piped = try service(code: 1, diagnosis: found) { $0["stdio"] = "pipe" }.message
        #expect(piped?.contains("stdio") == false)
    }

    @Test(arguments: [ActiveState.inactive, .failed, .activating])
    func `a command that has put itself into the background is told what to do`(active: ActiveState) throws {
        let message = try service(active, code: 0, leavingProcesses: true).message
        #expect(message?.hasPrefix("ended with exit code 0 and left processes behind") == true)
        #expect(message?.contains("run it in the foreground") == true)
        // One that had run for long did something else.
        let limit = ServiceMessage.backgroundMicroseconds
        let late = try service(active, code: 0, lasting: limit, leavingProcesses: true).message
        #expect(late?.contains("left processes behind") == true && late?.contains("foreground") == false)
    }

    @Test func `a run whose main process is the launcher is starting`() throws {
        #expect(ServiceStatus.of(.active, isLaunching: true, intent: .none, refusal: nil) == .starting)
        #expect(ServiceStatus.of(.active, isLaunching: true, intent: .stop, refusal: nil) == .starting)
        let failing = ServiceStatus.of(
            .deactivating,
            isLaunching: false,
            hasMainProcess: false,
            intent: .none,
            refusal: nil
        )
        #expect(failing == .starting)
    }

    @Test func eachStepOfTheLauncherIsKnown() {
        let told = Failure.Step.allCases.map(\.word.description)
        #expect(Set(told + ["journal"]) == Set(LaunchMark.Step.allCases.map(\.rawValue)))
    }

    @Test func `a script for env with CR LF is told`() throws {
        let line = "/usr/bin/env: 'python3\\r': No such file or directory"
        let hint = "/usr/bin/env: use -[v]S to pass options in shebang lines"
        let message = try service(code: 127, diagnosis: Findings(lines: [line, hint])).message
        #expect(
            message
                == "exited with code 127: \(line); the first line of a script ends with CR LF: save the file with LF line"
                + " ends"
        )
        #expect(!RunDiagnosis.namesCarriageReturn("env: 'python3': No such file or directory"))
    }

    @Test func `a message without the environment names the same PATH`() throws {
        let own = try service(diagnosis: diagnosis(line: "/bin/sh: 1: a: not found")) { draft in
            draft["command"] = "a | b"
            draft["env"] = ["PATH": "/opt"]
        }
        #expect(own.message?.hasSuffix("PATH was /opt") == true)
        #expect(own.withoutEnvironment().message == own.message)
    }

    @Test func `what systemd wrote is cut and has no control characters`() throws {
        let setUp = diagnosis(setUp: "\u{1B}[2J" + String(repeating: "x", count: RunDiagnosis.textLengthLimit))
        let message = try #require(try service(code: 226, diagnosis: setUp).message)
        #expect(message.hasSuffix("x…"))
        #expect(message.contains(": ?[2Jx"))
    }
}
