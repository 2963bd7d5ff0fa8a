/// The accounts in passwd(5), by uid. Other sources of the name service switch are not asked: they are other processes,
/// which may hang.
@EventLoopActor
public final class Passwd {
    /// The fields of a line that are used.
    public struct Entry: Equatable, Sendable {
        public let name: String
        public let home: String
    }

    private let directory: String
    private let file: String
    /// The file that was read.
    private var known: FileIdentity?
    private var entries: [UInt32: Entry] = [:]

    /// A larger file is not read.
    private static let bytesLimit = 4 * 1024 * 1024

    /// `path` is that of the file.
    public init(path: String = "/etc/passwd") {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        directory = String(path[..<slash])
        file = String(path[path.index(after: slash)...])
    }

    /// The account of a uid; of several the first one, as getpwuid(3). Nil if there is none, or the file cannot be
    /// read.
    public func entry(of uid: UInt32) -> Entry? {
        refresh()
        return entries[uid]
    }

    /// Reads the file again if it is another one.
    private func refresh() {
        let found = FileIdentity(directory + "/" + file)
        if let known, known == found { return }
        let bytes = (try? Directory(directory).read(file, limitBytes: Self.bytesLimit)) ?? nil
        entries = bytes.map(Self.parse) ?? [:]
        known = bytes == nil ? nil : found
    }

    /// The lines "name:password:uid:gid:comment:home:shell". A line that is none is skipped.
    static func parse(_ bytes: [UInt8]) -> [UInt32: Entry] {
        var entries: [UInt32: Entry] = [:]
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard fields.count == 7, !fields[0].isEmpty,
                fields[2].allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let uid = UInt32(String(decoding: fields[2], as: UTF8.self)), entries[uid] == nil
            else { continue }
            entries[uid] = Entry(
                name: String(decoding: fields[0], as: UTF8.self),
                home: String(decoding: fields[5], as: UTF8.self)
            )
        }
        return entries
    }
}
