internal import CLaunch

/// The entry: scripts/build makes it `main`.
@c(miosa_launch)
public func launch(
    _ count: CInt,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
    _ environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    guard let request = Request(Words(arguments)) else {
        writeLine("usage: launch [--keep=NAME]... [--stdio=pipe] IDENTIFIER DIRECTORY COMMAND [ARGUMENT]...")
        return ExitCode.usage
    }
    var launcher = Launcher(request, Environment(environment))
    return launcher.run()
}

/// The program in `ExecStart=` of a service, which then executes the service's command.
///
///     launch [--keep=NAME]… [--stdio=pipe] IDENTIFIER DIRECTORY COMMAND [ARGUMENT]…
///     launch [--keep=NAME]… [--stdio=pipe] --credential IDENTIFIER
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
        case .relay:
            var relay = Relay(Relay.outputPipe, to: STDOUT_FILENO, Relay.errorPipe, to: STDERR_FILENO)
            relay.run()
            return 0
        case .credential:
            let streams = Streams.connect(request.identifier, notifier)
            guard let credential = Credential(environment) else {
                return Failure(.credential, errno).report(to: notifier)
            }
            return become(credential.words, credential.variables, streams).report(to: notifier)
        case .arguments:
            let streams = Streams.connect(request.identifier, notifier)
            return become(request.words, nil, streams).report(to: notifier)
        }
    }

    /// Executes the command. `words` are the directory and the command; `variables` override those of the environment.
    private mutating func become(_ words: Words, _ variables: Words?, _ streams: Streams) -> Failure {
        if request.isStdioPiped {
            let pipes = Pipes(of: request.identifier)
            let failure = pipes.replaceStandardStreams(streams, notifier, launcher: request.launcher)
            if let failure { return failure }
        }
        if let failure = WorkingDirectory.enter(words[0]) { return failure }
        environment.prepare(keeping: request, adding: variables)
        return Program(words.dropFirst(), environment).execute()
    }
}

/// The codes that the launcher exits with: those of a shell, and those of systemd.exec(5), "Process Exit Codes".
enum ExitCode {
    static let usage: CInt = 2
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
