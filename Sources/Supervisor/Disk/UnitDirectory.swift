internal import Services
internal import Systemd

/// The files that systemd reads for a service: its unit file, the link that starts it at boot, its environment file.
/// All of them are derived from the service's record and can be made again at any time.
struct UnitDirectory {
    private let layout: StateLayout

    init(_ layout: StateLayout) {
        self.layout = layout
    }

    /// Makes the directories that are ours.
    func prepare() throws(SystemError) {
        _ = try Directory(layout.stateDirectory, creatingWithMode: 0o700)
        _ = try Directory(layout.environmentDirectory, creatingWithMode: 0o700)
    }

    /// Makes the files say what the record says and gives back whether one of them did not. Without `isLinked` the link
    /// that starts the service at boot is left as it is.
    @discardableResult
    func write(
        _ record: ServiceRecord,
        isLinked: Bool = true,
        with changes: NameChanges? = nil
    ) throws(SystemError) -> Bool {
        let spec = record.spec
        // The unit file names the environment file, so that comes first.
        let wroteEnvironment = try writeEnvironment(PrivateFile.render(spec), spec.name, with: changes)
        let wroteUnit = try Self.put(
            UnitName.unit(of: spec.name),
            render(record),
            mode: 0o644,
            in: Directory(layout.unitDirectory),
            with: changes
        )
        let wroteLink = isLinked ? try setEnabled(record.isEnabled, spec.name, with: changes) : false
        return wroteEnvironment || wroteUnit || wroteLink
    }

    /// What stands in place of the unit file; nil for the file of this version or of another one of the agent. What
    /// cannot be read counts as edited.
    func deviation(of record: ServiceRecord) -> UnitFileFindings.Deviation? {
        let unit = UnitName.unit(of: record.spec.name)
        let path = layout.unitDirectory + "/" + unit
        do throws(SystemError) {
            let directory = try Directory(layout.unitDirectory)
            if directory.linkTarget(unit) == "/dev/null" { return .masked(path: path) }
            guard let bytes = try directory.read(unit, limitBytes: Self.unitFileBytesLimit) else {
                return .missing(path: path)
            }
            // systemd takes an empty file for a mask.
            if bytes.isEmpty { return .masked(path: path) }
            if render(record).utf8.elementsEqual(bytes) { return nil }
        } catch {
            return .edited(path: path)
        }
        return privateFileOfAnotherVersion(record) == nil ? .edited(path: path) : nil
    }

    /// Whether there is a link that starts the service at boot.
    func isLinked(_ name: ServiceName) -> Bool {
        (try? Directory(wantsDirectory))?.linkTarget(UnitName.unit(of: name)) != nil
    }

    /// Makes the environment file say what the record says, in the form that the unit file reads: another version of
    /// the agent may have written that. Such a unit works as it is, and its next start writes it anew.
    func writeEnvironment(of record: ServiceRecord) throws(SystemError) {
        let text = privateFileOfAnotherVersion(record) ?? PrivateFile.render(record.spec)
        _ = try writeEnvironment(text, record.spec.name, with: nil)
    }

    /// The environment file that goes with the unit file where that is another version's, and nil in it for none; nil
    /// for any other unit file.
    private func privateFileOfAnotherVersion(_ record: ServiceRecord) -> String?? {
        let spec = record.spec
        let unit = UnitName.unit(of: spec.name)
        // What cannot be read is no file of the agent's.
        guard let directory = try? Directory(layout.unitDirectory),
            let bytes = try? directory.read(unit, limitBytes: Self.unitFileBytesLimit)
        else { return nil }
        let path = environmentPath(of: spec.name)
        if let launcher = Self.launcher(in: bytes), launcher != UnitFile.launcher {
            let text = UnitFile.render(spec, id: record.id, privateFile: path, launcher: launcher)
            return text.utf8.elementsEqual(bytes) ? .some(PrivateFile.render(spec)) : nil
        }
        let text = EarlierUnitFile.render(spec, id: record.id, privateFile: path)
        return text.utf8.elementsEqual(bytes) ? .some(EarlierUnitFile.privateFile(spec)) : nil
    }

    /// The launcher that a unit file names.
    private static func launcher(in bytes: [UInt8]) -> String? {
        let prefix = Array("ExecStart=:\(UnitFile.launcherPrefix)".utf8)
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)
        guard let line = lines.first(where: { $0.starts(with: prefix) }) else { return nil }
        let number = line.dropFirst(prefix.count).prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return UnitFile.launcherPrefix + String(decoding: number, as: UTF8.self)
    }

    /// The unit file as it is on disk; what it should be where there is none.
    func read(_ record: ServiceRecord) throws(SystemError) -> [UInt8] {
        let unit = UnitName.unit(of: record.spec.name)
        let bytes = try Directory(layout.unitDirectory).read(unit, limitBytes: Self.unitFileBytesLimit)
        return bytes ?? Array(render(record).utf8)
    }

    /// systemd refuses longer lines than this, and all but one of ours are short.
    private static let unitFileBytesLimit = 1024 * 1024

    private func render(_ record: ServiceRecord) -> String {
        UnitFile.render(record.spec, id: record.id, privateFile: environmentPath(of: record.spec.name))
    }

    /// Makes or removes the link through which the boot target starts the service. False when it was so already.
    @discardableResult
    func setEnabled(
        _ isEnabled: Bool,
        _ name: ServiceName,
        with changes: NameChanges? = nil
    ) throws(SystemError) -> Bool {
        let unit = UnitName.unit(of: name)
        if isEnabled {
            let target = layout.unitDirectory + "/" + unit
            let wants = try Directory(wantsDirectory, creatingWithMode: 0o755)
            guard wants.linkTarget(unit) != target else { return false }
            try wants.link(unit, to: target, with: changes)
            return true
        }
        return try Self.remove(unit, in: wantsDirectory, with: changes)
    }

    /// Throws what a change of the unit's files would throw, without making one.
    func checkWritable() throws(SystemError) {
        try Directory(layout.unitDirectory).touch()
    }

    /// Removes all that systemd has to read of a service. What is gone already is no error; what cannot be removed does
    /// not keep the rest.
    func remove(_ name: ServiceName, with changes: NameChanges) throws(SystemError) {
        let unit = UnitName.unit(of: name)
        var failure: SystemError?
        let places = [
            (unit, wantsDirectory), (unit, layout.unitDirectory),
            (environmentName(of: name), layout.environmentDirectory),
        ]
        for (file, directory) in places {
            do throws(SystemError) {
                try Self.remove(file, in: directory, with: changes)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// Removes what a crash between writing and renaming a file left behind.
    func removeTemporaries() throws(SystemError) {
        for path in [layout.unitDirectory, wantsDirectory, layout.environmentDirectory] {
            let directory: Directory
            do throws(SystemError) {
                directory = try Directory(path)
            } catch let error where error.isNotFound {
                continue
            }
            for name in try directory.names() where Self.isOurTemporary(name) { try directory.remove(name) }
        }
    }

    /// Writes an environment file, or removes it where `text` is nil.
    private func writeEnvironment(
        _ text: String?,
        _ service: ServiceName,
        with changes: NameChanges?
    ) throws(SystemError) -> Bool {
        let name = environmentName(of: service)
        guard let text else {
            return try Self.remove(name, in: layout.environmentDirectory, with: changes)
        }
        return try Self.put(name, text, mode: 0o600, in: Directory(layout.environmentDirectory), with: changes)
    }

    /// Writes a file unless it has that content and mode. Comparing first keeps an untouched file's time, by which
    /// systemd decides that it holds a stale copy.
    private static func put(
        _ name: String,
        _ text: String,
        mode: UInt32,
        in directory: borrowing Directory,
        with changes: NameChanges?
    ) throws(SystemError) -> Bool {
        let bytes = Array(text.utf8)
        do throws(SystemError) {
            let isSame = try directory.read(name, limitBytes: bytes.count) == bytes
            if isSame, try directory.mode(of: name) == mode { return false }
        } catch {
            // A file that is too long or no regular file is not what we wrote: it is replaced like any other.
        }
        try directory.write(name, bytes, mode: mode, with: changes)
        return true
    }

    @discardableResult
    private static func remove(
        _ name: String,
        in path: String,
        with changes: NameChanges?
    ) throws(SystemError) -> Bool {
        do throws(SystemError) {
            let directory = try Directory(path)
            guard try directory.remove(name) else { return false }
            try directory.synchronize(with: changes)
            return true
        } catch let error where error.isNotFound {
            return false
        }
    }

    private static func isOurTemporary(_ name: String) -> Bool {
        name.hasPrefix(".miosa-service-") && name.hasSuffix(".tmp")
            || name.hasPrefix(".") && name.hasSuffix(".env.tmp")
    }

    /// Where the links are that start services at boot.
    var wantsDirectory: String { layout.unitDirectory + "/" + UnitFile.bootTarget + ".wants" }

    private func environmentName(of name: ServiceName) -> String { "\(name).env" }

    private func environmentPath(of name: ServiceName) -> String {
        layout.environmentDirectory + "/" + environmentName(of: name)
    }
}
