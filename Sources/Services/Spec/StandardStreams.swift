/// What standard output and standard error are connected to.
public enum StandardStreams: String, CaseIterable, Sendable {
    /// Stream sockets of journald.
    case journal
    /// Pipes, which can be opened as /dev/stdout and /dev/stderr; a relay process copies their content to the journal.
    case pipe
}
