internal import Services
internal import Systemd

/// What the directories of systemd's unit path have for the agent's units, beside its own unit files:
/// systemd.unit(5), "Unit File Load Path".
struct UnitPathSearch {
    /// Unit files in directories that systemd reads before the agent's, by unit.
    private(set) var unitFiles: [String: String] = [:]
    /// Drop-ins by the name of their directory, those of directories that count first in front.
    private(set) var dropIns: [String: [DropIn]] = [:]
    /// The directories of drop-ins that there are.
    private(set) var directories: [String] = []

    struct DropIn {
        let file: String
        let path: String
    }

    /// Finds nothing.
    init() {}

    /// Reads the directories. What cannot be read holds nothing: systemd cannot read it either.
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

    /// The paths of a unit's drop-ins, sorted by the names of the files. Of several with one name the first counts:
    /// that of the more specific directory, then that of the directory that systemd reads first.
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
            // A name that ends with a hyphen is its own prefix.
            if "\(prefix)\(suffix).d" != names[0] { names.append("\(prefix)\(suffix).d") }
        }
        return names + [anyService]
    }
}
