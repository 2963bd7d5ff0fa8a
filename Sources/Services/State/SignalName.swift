internal import JSON

/// Names of signals: signal(7), "Standard signals" and "Real-time signals", with the numbers of x86 and ARM.
public enum SignalName {
    public static func name(of number: Int) -> String {
        switch number {
        case 1...standard.count: standard[number - 1]
        case 34: "SIGRTMIN"
        case 35...64: "SIGRTMIN+\(number - 34)"
        default: "SIG\(number)"
        }
    }

    /// The number of a signal that a process can be sent, by its name with or without "SIG", as kill(1) takes it; nil
    /// for any other text.
    public static func number(_ name: String) -> Int? {
        let full = name.hasPrefix("SIG") ? name : "SIG" + name
        return (1...64).first { SignalName.name(of: $0) == full && ($0 <= standard.count || $0 >= 34) }
    }

    /// The value of a field that names a signal: the name that begins with "SIG".
    static let fieldType = FieldType<String>(
        schema: JSONObject(type: "string", ["pattern": .string(pattern)]),
        read: { value in
            guard case .string(let name) = value else {
                return .problem(FieldType<String>.mismatch(value, "a string"))
            }
            guard let number = number(name) else { return .problem("must be the name of a signal, as 'SIGTERM'") }
            return .value(SignalName.name(of: number))
        },
        write: { .string($0) }
    )

    /// The pattern of the texts that ``number(_:)`` takes.
    private static var pattern: String {
        let names = standard.map { $0.dropFirst(3) }.joined(separator: "|")
        return "^(SIG)?(\(names)|RTMIN(\\+([1-9]|[12][0-9]|30))?)$"
    }

    private static let standard = [
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
        "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP",
        "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR",
        "SIGSYS",
    ]
}
