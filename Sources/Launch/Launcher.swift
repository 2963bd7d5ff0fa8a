internal import CLaunch

/// The entry: scripts/build makes it `main`.
@c(miosa_launch)
public func launch(
    _ count: CInt,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
    _ environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    guard let request = Request(Words(arguments)) else {
        writeLine(
            "usage: launch [--keep=NAME]... [--stdio=pipe | --control] IDENTIFIER DIRECTORY COMMAND [ARGUMENT]..."
        )
        return ExitCode.usage
    }
    var launcher = Launcher(request, Environment(environment))
    return launcher.run()
}

/// The program in `ExecStart=` of a service, which then executes the service's command. The same for the commands of
/// `pre_start` and `post_stop`, in `ExecStartPre=` and `ExecStopPost=`, with `--control`.
///
///     launch [--keep=NAME]… [--stdio=pipe | --control] IDENTIFIER DIRECTORY COMMAND [ARGUMENT]…
///     launch [--keep=NAME]… [--stdio=pipe | --control] [--keep-credential] --credential[=NUMBER] IDENTIFIER
///     launch --delay=SECONDS:MAXIMUM IDENTIFIER
///     launch --ended IDENTIFIER
///     launch --drain IDENTIFIER
///     launch --relay
///
/// It runs as the service's account, in the service's cgroup, with the PID that the command keeps. It connects standard
/// error to the journal (``Streams``), enters DIRECTORY (``WorkingDirectory``), prepares the environment of a login
/// shell's child (``Environment``) and calls execve(2) (``Program``). A failure is reported by a status message to
/// systemd and a line on standard error (``Failure``).
///
/// It is compiled as Embedded Swift without a runtime and linked statically: it loads no library, no locale and no file
/// other than those named here, independent of the service's environment.
struct Launcher {
    private let request: Request
    private var environment: Environment
    private let notifier: Notifier

    init(_ request: Request, _ environment: Environment) {
        self.request = request
        self.environment = environment
        notifier = Notifier(environment, isKept: request.keeps("NOTIFY_SOCKET"))
    }

    /// Executes the request; returns the exit code if no other program is executed.
    mutating func run() -> CInt {
        switch request.mode {
        case .drain:
            Pipes(of: request.identifier).drain(as: request.identifier, notifier)
            return 0
        case .delay(let seconds, let limit):
            RestartDelay(of: request.identifier).wait(seconds, limit, notifier)
            return 0
        case .ended:
            RestartDelay(of: request.identifier).noteEnd()
            return 0
        case .relay:
            var relay = Relay(Relay.outputPipe, to: STDOUT_FILENO, Relay.errorPipe, to: STDERR_FILENO)
            relay.run()
            return 0
        case .credential(let number):
            let streams = connect()
            guard let credential = Credential(environment, request, command: number) else {
                return report(Failure(.credential, errno))
            }
            return report(become(credential.words, credential.variables, streams))
        case .arguments:
            let streams = connect()
            return report(become(request.words, nil, streams))
        }
    }

    /// Connects standard error to its own stream. A command of `pre_start` can end at once, and journald could not look
    /// up its unit any more: the launcher waits.
    private func connect() -> Streams {
        let streams = Streams.connect(request.identifier, notifier)
        if request.isControl { streams.awaitMark() }
        return streams
    }

    /// Reports a failure: to the log, and to systemd if this is the main process, the only one that systemd listens to.
    private func report(_ failure: Failure) -> CInt { failure.report(to: request.isControl ? nil : notifier) }

    /// Executes the command. `words` are the directory and the command; `variables` override those of the environment.
    private mutating func become(_ words: Words, _ variables: Words?, _ streams: Streams) -> Failure {
        if request.isStdioPiped {
            let pipes = Pipes(of: request.identifier)
            let failure = pipes.replaceStandardStreams(streams, notifier, launcher: request.launcher)
            if let failure { return failure }
        }
        if let failure = WorkingDirectory.enter(words[0]) { return failure }
        if let failure = environment.prepare(keeping: request, adding: variables) { return failure }
        return Program(words.dropFirst(), environment).execute()
    }
}

/// The codes that the launcher exits with: those of a shell, and those of systemd.exec(5), "Process Exit Codes".
enum ExitCode {
    static let usage: CInt = 2
    /// EX_CONFIG of sysexits.h(3head).
    static let environmentFile: CInt = 78
    /// As a shell's: the command was found and cannot be executed.
    static let notExecutable: CInt = 126
    /// As a shell's: the command was not found.
    static let notFound: CInt = 127
    /// systemd's EXIT_CHDIR.
    static let directory: CInt = 200
    /// systemd's EXIT_STDOUT.
    static let standardOutput: CInt = 209
    /// systemd's EXIT_CREDENTIALS.
    static let credential: CInt = 243
}
