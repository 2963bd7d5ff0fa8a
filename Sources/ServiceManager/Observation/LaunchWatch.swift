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

    /// `launched` is called with a service whose main process has executed the command. A launcher that ends without
    /// it is not told: systemd reports that.
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
        // Of a process that has ended it is not known whether it had executed the command: systemd reports the end in a
        // moment.
        guard let launcher = launcher(pid) else { return hasEnded(pid) }
        // Without a watch the execution of the command would not be noticed.
        let watch = try? CloseWatch(launcher) { [weak self] in self?.look(name, pid, launcher) }
        guard let watch else { return false }
        // The process may have closed the file before the watch was set.
        guard self.launcher(pid) == launcher else { return hasEnded(pid) }
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
            if !hasEnded(process.pid) { launched(name) }
        }
        delay = min(delay * 2, Self.delayLimit)
        if launching.isEmpty { timer?.cancel() } else { lookLater() }
    }

    private func look(_ name: ServiceName, _ pid: Int, _ launcher: String) {
        guard launching[name]?.pid == pid, self.launcher(pid) != launcher else { return }
        launching[name] = nil
        if launching.isEmpty { timer?.cancel() }
        if !hasEnded(pid) { launched(name) }
    }

    /// Whether a process ends, has ended or is gone. False where /proc hides the processes of other accounts.
    private func hasEnded(_ pid: Int) -> Bool {
        guard let status = KernelFile.text("\(processDirectory)/\(pid)/stat") else {
            return KernelFile.text("\(processDirectory)/1/stat") != nil
        }
        // proc(5): "pid (comm) state ppid pgrp session tty_nr tpgid flags …"; comm can hold any character.
        guard let comm = status.utf8.lastIndex(of: UInt8(ascii: ")")) else { return false }
        let fields = status[comm...].split(separator: " ").dropFirst()
        let flags = fields.dropFirst(6).first.flatMap { UInt($0) } ?? 0
        return fields.first == "Z" || fields.first == "X" || flags & Self.exiting != 0
    }

    /// PF_EXITING of the kernel's sched.h: set before the process closes its program's file.
    private static let exiting: UInt = 0x4

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
