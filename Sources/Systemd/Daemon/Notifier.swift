internal import CSystemd
internal import Glibc

/// What the daemon tells the service manager that started it: sd_notify(3). Does nothing without `NOTIFY_SOCKET`.
public enum Notifier {
    /// Serving: units ordered after the daemon may start.
    public static func ready(status: String) { send("READY=1\nSTATUS=\(status)") }

    /// One line for `systemctl status`.
    public static func status(_ text: String) { send("STATUS=\(text)") }

    /// On the way out.
    public static func stopping() { send("STOPPING=1\nSTATUS=Stopping") }

    /// Has the manager hold a socket, too, and pass it to the next process of the service under this name: it stays
    /// open while the service restarts. Takes FileDescriptorStoreMax= in the unit.
    @EventLoopActor
    public static func keep(_ socket: ListeningSocket, as name: String) {
        var number = socket.descriptor.raw
        _ = unsafe sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=\(name)", &number, 1)
    }

    /// Has the manager close what it holds under a name.
    public static func release(_ name: String) { send("FDSTOREREMOVE=1\nFDNAME=\(name)") }

    private static func send(_ state: String) {
        // A manager that does not listen changes nothing for the daemon: it serves all the same.
        _ = unsafe sd_notify(0, state)
    }
}
