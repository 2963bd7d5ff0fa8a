internal import Services
internal import Systemd

/// Tracks the services whose main process is still the launcher, and reports when it has executed the command.
///
/// systemd reports a unit as active as soon as the launcher runs. /proc/PID/cmdline shows the program of a process, and
/// execve(2) closes the launcher's file, which inotify(7) reports: nothing is polled while no service is starting.
@EventLoopActor
final class LaunchWatch {
    /// The main processes that are launchers, each with a watch on the launcher's file: the next launcher may be
    /// another file of that name.
    private var launching: [ServiceName: (pid: Int, watch: CloseWatch)] = [:]
    /// Checks again in case a close was missed: if the file was replaced between the launcher's start and the watch,
    /// the close is reported for another file.
    private var timer: Timer?
    private var delay = LaunchWatch.firstDelay
    private static let firstDelay = Duration.milliseconds(100)
    private static let delayLimit = Duration.seconds(5)

    private let processDirectory: String
    private let launcherPrefix: String
    private let launched: @EventLoopActor (ServiceName) -> Void

    /// `launched` is called with a service whose main process has executed the command, or has ended.
    init(
        processDirectory: String = "/proc",
        launcherPrefix: String = UnitFile.launcherPrefix,
        launched: @escaping @EventLoopActor (ServiceName) -> Void
    ) {
        self.processDirectory = processDirectory
        self.launcherPrefix = launcherPrefix
        self.launched = launched
    }

    /// Whether a service's main process is still the launcher. `former` is the previous state.
    func isLaunching(_ name: ServiceName, _ state: UnitState, after former: UnitState) -> Bool {
        if launching.removeValue(forKey: name) != nil, launching.isEmpty { timer?.cancel() }
        guard state.activeState == .active, let pid = state.mainPID else { return false }
        // A process that has executed the command counts as the command from then on.
        if former.activeState == .active, former.mainPID == pid, !former.isLaunching { return false }
        // Without a watch the execution of the command would not be noticed.
        guard let launcher = launcher(pid),
            let watch = try? CloseWatch(launcher, handler: { [weak self] in self?.look(name, pid, launcher) })
        else { return false }
        // The process may have closed the file before the watch was set.
        guard self.launcher(pid) == launcher else { return false }
        if launching.isEmpty { delay = Self.firstDelay }
        launching[name] = (pid, watch)
        lookLater()
        return true
    }

    private func lookLater() {
        if timer == nil { timer = try? Timer { [weak self] in self?.lookAgain() } }
        timer?.arm(after: delay)
    }

    private func lookAgain() {
        for (name, process) in launching where launcher(process.pid) == nil {
            launching[name] = nil
            launched(name)
        }
        delay = min(delay * 2, Self.delayLimit)
        if launching.isEmpty { timer?.cancel() } else { lookLater() }
    }

    private func look(_ name: ServiceName, _ pid: Int, _ launcher: String) {
        guard launching[name]?.pid == pid, self.launcher(pid) != launcher else { return }
        launching[name] = nil
        if launching.isEmpty { timer?.cancel() }
        launched(name)
    }

    /// The path of the launcher that a process executes; nil when it is another program, or has ended.
    private func launcher(_ pid: Int) -> String? {
        let prefix = launcherPrefix
        guard let line = KernelFile.text("\(processDirectory)/\(pid)/cmdline"), line.utf8.starts(with: prefix.utf8),
            let end = line.utf8.firstIndex(of: 0)
        else { return nil }
        let path = line[..<end]
        let number = path.utf8.dropFirst(prefix.utf8.count)
        guard !number.isEmpty, number.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return String(path)
    }
}
