internal import Services
internal import Systemd

/// The drop-ins and unit files that the directories of systemd's unit path hold for the agent's units, without the
/// files that the agent wrote: systemd.unit(5), "Unit File Load Path".
struct UnitPathSearch {
    /// Unit files in directories of higher precedence than the agent's, by unit.
    private(set) var unitFiles: [String: String] = [:]
    /// Drop-ins by the name of their directory, highest precedence first.
    private(set) var dropIns: [String: [DropIn]] = [:]
    /// The directories of drop-ins that exist.
    private(set) var directories: [String] = []

    struct DropIn {
        let file: String
        let path: String
    }

    /// An empty result.
    init() {}

    /// Reads the directories. A directory that cannot be read counts as empty: systemd cannot read it either.
    init(_ layout: StateLayout) {
        var isBefore = true
        for path in layout.unitPath {
            if path == layout.unitDirectory { isBefore = false }
            guard let directory = try? Directory(path), let names = try? directory.names() else { continue }
            for name in names where name == Self.anyService || name.utf8.starts(with: Self.prefix.utf8) {
                if name == Self.anyService || name.hasSuffix("." + Self.anyService) {
                    find(name, in: path)
                } else if isBefore, unitFiles[name] == nil, name.hasSuffix(".service") {
                    unitFiles[name] = path + "/" + name
                }
            }
        }
    }

    private static let anyService = "service.d"
    private static let prefix = "miosa-"

    private mutating func find(_ name: String, in path: String) {
        let path = path + "/" + name
        guard let directory = try? Directory(path), let files = try? directory.names() else { return }
        directories.append(path)
        for file in files where file.hasSuffix(".conf") && !file.hasPrefix(".") {
            dropIns[name, default: []].append(DropIn(file: file, path: path + "/" + file))
        }
    }

    /// The paths of a unit's drop-ins, sorted by file name. Of several files with one name the one of the more specific
    /// directory wins, then the one of the directory with the higher precedence.
    func dropIns(of unit: String) -> [String] {
        guard !dropIns.isEmpty else { return [] }
        var found: [String: String] = [:]
        for name in Self.directories(of: unit) {
            for dropIn in dropIns[name] ?? [] where found[dropIn.file] == nil { found[dropIn.file] = dropIn.path }
        }
        return found.sorted { $0.key < $1.key }.map(\.value)
    }

    /// "a-b.service": a-b.service.d, a-.service.d, service.d.
    private static func directories(of unit: String) -> [String] {
        let suffix = ".service"
        var stem = unit.dropLast(suffix.count)
        var names = ["\(unit).d"]
        while let hyphen = stem.lastIndex(of: "-") {
            let prefix = stem[...hyphen]
            stem = stem[..<hyphen]
            // The prefix of "a-.service" is "a-.service" itself: it is listed once.
            if "\(prefix)\(suffix).d" != names[0] { names.append("\(prefix)\(suffix).d") }
        }
        return names + [anyService]
    }
}
