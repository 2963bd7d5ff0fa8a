internal import API
internal import Systemd

/// Random bytes, constant for this product: they make the computer id differ from the ids that other products derive
/// from the machine id. sd_id128_get_machine_app_specific(3).
let applicationID: [16 of UInt8] = [
    0x5e, 0x1c, 0x0f, 0x9a, 0x3b, 0x7d, 0x4e, 0x62, 0x9f, 0x24, 0xd8, 0x71, 0x06, 0xb5, 0xa3, 0xe9,
]

/// The exit status for invalid arguments, as of most tools.
let usageExitStatus: Int32 = 2

func run() -> Int32 {
    let command: Command
    do throws(Command.UsageError) {
        command = try Command(arguments: Array(CommandLine.arguments.dropFirst()))
    } catch {
        ProcessContext.write("miosa-agent: \(error.reason)\nTry 'miosa-agent --help'.", toStandardError: true)
        if ProcessContext.environment()["LISTEN_FDS"] != nil {
            // ExecStart= has invalid arguments.
            EventLoop.shared.adoptThread()
            EventLoopActor.assumeIsolated { Rejection.answerClients([error.reason]) }
        }
        return usageExitStatus
    }
    switch command {
    case .help:
        ProcessContext.write(Command.usage)
        return 0
    case .version:
        ProcessContext.write("miosa-agent \(Version.text)")
        return 0
    case .check(let flags, let isJSON): return check(flags, isJSON: isJSON)
    case .serve(let flags): return serve(flags)
    case .reload: return reload()
    }
}

/// Why the daemon does not run.
struct StartFailure: Error {
    let reasons: [String]
    /// Whether the configuration is the cause, so that a restart does not help.
    var isOfConfiguration = false
}

func validConfiguration(
    _ flags: [String: String],
    _ environment: [String: String]
) throws(StartFailure) -> ValidConfiguration {
    let given: Configuration
    do throws(SystemError) {
        given = try configuration(flags, environment)
    } catch {
        throw StartFailure(reasons: ["a credential cannot be read: \(error)"])
    }
    do throws(Configuration.Problems) {
        return try ValidConfiguration(given, tokenFiles: TokenFiles(in: TokenFiles.directory), machineID: machineID())
    } catch {
        throw StartFailure(reasons: error.all, isOfConfiguration: true)
    }
}

func configuration(_ flags: [String: String], _ environment: [String: String]) throws(SystemError) -> Configuration {
    var credentials: [String: String] = [:]
    for name in ["computer-id", "tenant-id", "token"] {
        credentials[name] = try Credentials.text(name, directory: environment["CREDENTIALS_DIRECTORY"])
    }
    return Configuration(flags: flags, environment: environment) { credentials[$0] }
}

/// The computer id of a machine without a configured one.
func machineID() -> String? { try? Identifier.machine(forApplication: applicationID).description }

/// `miosa-agent check`: of the unit, or of this process where systemd has no such unit or cannot be asked.
func check(_ flags: [String: String], isJSON: Bool) -> Int32 {
    EventLoop.shared.adoptThread()
    return EventLoopActor.assumeIsolated {
        EventLoop.begin {
            let check = await Check.ofThisMachine(flags, machineID: machineID())
            if isJSON {
                ProcessContext.write(check.json)
            } else {
                for line in check.lines { ProcessContext.write(line) }
                for problem in check.problems { ProcessContext.write(problem, toStandardError: true) }
            }
            EventLoop.shared.exit(code: check.isGood ? 0 : 1)
        }
        do throws(SystemError) {
            return try EventLoop.shared.run()
        } catch {
            ProcessContext.write("cannot run: \(error)", toStandardError: true)
            return 1
        }
    }
}

func serve(_ flags: [String: String]) -> Int32 {
    let environment = ProcessContext.environment()
    Signal.ignorePipe()
    ProcessMemory.returnBlocks(above: 128 * 1024)
    EventLoop.shared.adoptThread()
    return EventLoopActor.assumeIsolated {
        var log = Log(journalStream: environment["JOURNAL_STREAM"])
        do throws(StartFailure) {
            let configuration = try validConfiguration(flags, environment)
            log.level = configuration.logLevel
            for variable in Configuration.unknownVariables(environment) {
                let priority = variable == Configuration.formerTokenVariable ? JournalWriter.Priority.error : .warning
                log.write(priority, "\(variable) \(Configuration.remark(onUnknown: variable))")
            }
            for problem in configuration.tokenProblems { log.write(.error, "refused: \(problem)") }
            // The unit passes the boot id of its manager: in a container the kernel's is the host's.
            let bootID = environment["MIOSA_AGENT_BOOT_ID"].flatMap(Identifier.init)
            return try Daemon.run(configuration, bootID: bootID, log) { () throws(StartFailure) in
                try validConfiguration(flags, environment)
            }
        } catch {
            for reason in error.reasons { log.write(.error, "cannot run: \(reason)") }
            Notifier.status("Cannot run: \(error.reasons.joined(separator: "; "))")
            Rejection.answerClients(error.reasons)
            return error.isOfConfiguration ? Rejection.configurationExitStatus : 1
        }
    }
}

/// `miosa-agent reload`: has the main process of the unit, which systemd names in the environment of ExecReload=, read
/// the tokens again. Fails when that fails; the log of the agent has the reason.
func reload() -> Int32 {
    guard let pid = ProcessContext.environment()["MAINPID"].flatMap({ Int($0) }) else {
        ProcessContext.write(
            "miosa-agent: 'reload' is for systemd: systemctl reload miosa-agent",
            toStandardError: true
        )
        return usageExitStatus
    }
    do throws(SystemError) {
        return try Signal.hangUp.request(from: pid, within: .seconds(30)) == 0 ? 0 : 1
    } catch {
        ProcessContext.write("miosa-agent: the agent does not read its tokens: \(error)", toStandardError: true)
        return 1
    }
}

ProcessContext.exit(run())
