/// The processes that get the stop signal: systemd.kill(5), `KillMode=`.
public enum StopMode: String, CaseIterable, Sendable {
    case all
    case main
}
