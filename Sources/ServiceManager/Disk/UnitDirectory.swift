internal import Services
internal import Systemd

/// The files that systemd reads for a service: its unit file, the link that starts it at boot, its environment file.
/// All of them are derived from the service's record and can be made again at any time.
struct UnitDirectory {
    private let layout: StateLayout

    init(_ layout: StateLayout) {
        self.layout = layout
    }

    /// Creates the agent's own directories. Throws when that fails.
    func prepare() throws(SystemError) {
        _ = try Directory(layout.stateDirectory, creatingWithMode: 0o700)
        _ = try Directory(layout.environmentDirectory, creatingWithMode: 0o700)
    }

    /// The changes that write the files of a unit, by which the result tells whether a file was different before.
    struct Written {
        /// All of them: the environment file, the unit file, the link.
        var all: Range<FileChanges.Number> = 0..<0
        /// That of the unit file.
        var unitFile: Range<FileChanges.Number> = 0..<0
    }

    /// Writes the files from the record. With `isLinked` false the link that starts the service at boot is not changed.
    @discardableResult
    func write(
        _ record: ServiceRecord,
        isLinked: Bool = true,
        into changes: inout FileChanges
    ) -> Written {
        var written = Written()
        let first = changes.count
        let spec = record.spec
        // First, because the unit file refers to the environment file.
        writeEnvironment(PrivateFile.render(spec), spec.name, into: &changes)
        let unit = UnitName.unit(of: spec.name)
        let bytes = Array(render(record).utf8)
        written.unitFile = changes.count..<changes.count + 1
        changes.write(unit, in: layout.unitDirectory, bytes, mode: 0o644, unlessEqual: true)
        if isLinked { setEnabled(record.isLinked, spec.name, into: &changes) }
        written.all = first..<changes.count
        return written
    }

    /// How the unit file differs from what the agent wrote; nil for a file of this or another version of the agent. A
    /// file that cannot be read counts as edited.
    func deviation(of record: ServiceRecord) -> UnitFileFindings.Deviation? {
        let unit = UnitName.unit(of: record.spec.name)
        let path = layout.unitDirectory + "/" + unit
        do throws(SystemError) {
            let directory = try Directory(layout.unitDirectory)
            if directory.linkTarget(unit) == "/dev/null" { return .masked(path: path) }
            guard let bytes = try directory.read(unit, limitBytes: Self.unitFileBytesLimit) else {
                return .missing(path: path)
            }
            // systemd treats an empty unit file as masked.
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

    /// Writes the environment file from the record, in the format that the existing unit file expects, which may be of
    /// another version of the agent. Such a unit keeps working; its next start through the agent rewrites it.
    func writeEnvironment(of record: ServiceRecord, into changes: inout FileChanges) {
        let text = privateFileOfAnotherVersion(record) ?? PrivateFile.render(record.spec)
        writeEnvironment(text, record.spec.name, into: &changes)
    }

    /// The content of the environment file for a unit file of another version of the agent, with an inner nil when that
    /// version needs none; nil for any other unit file.
    private func privateFileOfAnotherVersion(_ record: ServiceRecord) -> String?? {
        let spec = record.spec
        let unit = UnitName.unit(of: spec.name)
        // A file that cannot be read was not written by the agent.
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

    /// The content of the unit file on disk; if there is none, the content that it should have. Throws when it cannot
    /// be read.
    func read(_ record: ServiceRecord) throws(SystemError) -> [UInt8] {
        let unit = UnitName.unit(of: record.spec.name)
        let bytes = try Directory(layout.unitDirectory).read(unit, limitBytes: Self.unitFileBytesLimit)
        return bytes ?? Array(render(record).utf8)
    }

    /// systemd refuses lines longer than this; all lines of the agent's files but one are short.
    private static let unitFileBytesLimit = 1024 * 1024

    /// The unit file of a spec, for a service with an id.
    func text(of spec: ServiceSpec, id: String) -> String {
        UnitFile.render(spec, id: id, privateFile: environmentPath(of: spec.name))
    }

    private func render(_ record: ServiceRecord) -> String {
        text(of: record.spec, id: record.id)
    }

    /// Creates or removes the link in the .wants directory of the boot target.
    func setEnabled(_ isEnabled: Bool, _ name: ServiceName, into changes: inout FileChanges) {
        let unit = UnitName.unit(of: name)
        if isEnabled {
            changes.link(unit, in: wantsDirectory, to: layout.unitDirectory + "/" + unit)
        } else {
            changes.remove(unit, in: wantsDirectory, mayLackDirectory: true)
        }
    }

    /// Removes the files that systemd reads for a service. A missing file is no error; a failure to remove one does not
    /// stop the removal of the others.
    func remove(_ name: ServiceName, into changes: inout FileChanges) {
        let unit = UnitName.unit(of: name)
        let places = [
            (unit, wantsDirectory), (unit, layout.unitDirectory),
            (environmentName(of: name), layout.environmentDirectory),
        ]
        for (file, directory) in places {
            changes.remove(file, in: directory, mayLackDirectory: true, keepsFailure: true)
        }
    }

    /// Waits until the names of unit files and environment files are on disk.
    func synchronize(into changes: inout FileChanges) {
        changes.synchronize(layout.environmentDirectory)
        changes.synchronize(layout.unitDirectory)
    }

    /// Removes temporary files, left by a crash between write and rename.
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
    private func writeEnvironment(_ text: String?, _ service: ServiceName, into changes: inout FileChanges) {
        let name = environmentName(of: service)
        let directory = layout.environmentDirectory
        if let text {
            changes.write(name, in: directory, Array(text.utf8), mode: 0o600, unlessEqual: true)
        } else {
            changes.remove(name, in: directory, mayLackDirectory: true)
        }
    }

    private static func isOurTemporary(_ name: String) -> Bool {
        name.hasPrefix(".miosa-service-") && name.hasSuffix(".tmp")
            || name.hasPrefix(".") && name.hasSuffix(".env.tmp")
    }

    /// The directory of the links that start services at boot.
    var wantsDirectory: String { layout.unitDirectory + "/" + UnitFile.bootTarget + ".wants" }

    private func environmentName(of name: ServiceName) -> String { "\(name).env" }

    private func environmentPath(of name: ServiceName) -> String {
        layout.environmentDirectory + "/" + environmentName(of: name)
    }
}
