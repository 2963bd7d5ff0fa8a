internal import CSystemd
internal import Glibc

/// Notifications to the service manager: sd_notify(3). Without `NOTIFY_SOCKET` they do nothing.
public enum Notifier {
    /// The daemon is ready: units ordered after it may start.
    public static func ready(status: String) { send("READY=1\nSTATUS=\(status)") }

    /// One line for `systemctl status`.
    public static func status(_ text: String) { send("STATUS=\(text)") }

    /// The daemon is stopping.
    public static func stopping() { send("STOPPING=1\nSTATUS=Stopping") }

    /// Stores a socket in the manager's descriptor store, which passes it to the next process of the service under this
    /// name: it stays open during a restart. Needs FileDescriptorStoreMax= in the unit.
    @EventLoopActor
    public static func keep(_ socket: ListeningSocket, as name: String) {
        var number = socket.descriptor.raw
        _ = unsafe sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=\(name)", &number, 1)
    }

    /// Removes the descriptors with a name from the descriptor store.
    public static func release(_ name: String) { send("FDSTOREREMOVE=1\nFDNAME=\(name)") }

    private static func send(_ state: String) {
        // A failure is ignored: the daemon works without notifications.
        _ = unsafe sd_notify(0, state)
    }
}
