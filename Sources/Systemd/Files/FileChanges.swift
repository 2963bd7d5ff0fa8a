internal import Glibc

/// A list of changes of files, made in order by ``Disk``. The first one that fails ends it, unless it is marked
/// otherwise.
public struct FileChanges: Sendable {
    /// One change. Directories are paths, names are single components.
    enum Change: Equatable {
        /// ``Directory/write(_:_:mode:with:)``; with `unlessEqual` not for a file that has that content and mode
        /// already.
        case write(directory: String, name: String, bytes: [UInt8], mode: UInt32, unlessEqual: Bool)
        /// ``Directory/link(_:to:with:)``, unless the link exists already. A missing directory is created.
        case link(directory: String, name: String, target: String)
        /// ``Directory/remove(_:)``; a missing name is no error, nor is a missing directory with `mayLackDirectory`.
        case remove(directory: String, name: String, mayLackDirectory: Bool)
        /// ``Directory/move(_:to:as:)``; a missing name is no error.
        case move(directory: String, name: String, toDirectory: String, newName: String)
        /// ``Directory/reserve(_:for:)``.
        case reserve(directory: String, name: String, byteCount: Int)
        /// ``Directory/overwrite(_:at:_:fileByteCount:)``.
        case overwrite(directory: String, name: String, offset: Int, bytes: [UInt8], fileByteCount: Int)
        /// fdatasync(2) of a file, which may be missing.
        case synchronizeFile(directory: String, name: String)
        /// Reads a part of a file into ``FileResult/bytes``; less at its end.
        case read(directory: String, name: String, offset: Int, byteCount: Int)
        /// fsync(2) of a directory.
        case synchronize(directory: String)
        /// fsync(2) of all changed directories.
        case synchronizeAll
    }

    /// The handling of a failure.
    enum Failing: UInt8 {
        /// The remaining changes are not made.
        case ends
        /// The following changes of this handling are made. The first one of another handling ends with the error.
        case isKept
        /// The failure is ignored.
        case isIgnored
    }

    private(set) var changes: [(change: Change, failing: Failing)] = []

    public init() {}

    public var isEmpty: Bool { changes.isEmpty }

    /// The number of changes, which is the index of the next one.
    public var count: Int { changes.count }

    /// The index of a change.
    public typealias Number = Int

    @discardableResult
    private mutating func append(_ change: Change, _ failing: Failing = .ends) -> Number {
        changes.append((change, failing))
        return changes.count - 1
    }

    /// Writes a file atomically. Its content is durable when the change is made, its name when the directory is
    /// synchronized.
    @discardableResult
    public mutating func write(
        _ name: String,
        in directory: String,
        _ bytes: [UInt8],
        mode: UInt32,
        unlessEqual: Bool = false
    ) -> Number {
        append(.write(directory: directory, name: name, bytes: bytes, mode: mode, unlessEqual: unlessEqual))
    }

    /// Makes a symbolic link.
    @discardableResult
    public mutating func link(_ name: String, in directory: String, to target: String) -> Number {
        append(.link(directory: directory, name: name, target: target))
    }

    /// Removes a name, which may be missing; with `mayLackDirectory` so may the directory. With `keepsFailure` a
    /// failure ends the list only after the following changes with `keepsFailure`; with `ignoresFailure` it is ignored.
    @discardableResult
    public mutating func remove(
        _ name: String,
        in directory: String,
        mayLackDirectory: Bool = false,
        keepsFailure: Bool = false,
        ignoresFailure: Bool = false
    ) -> Number {
        append(
            .remove(directory: directory, name: name, mayLackDirectory: mayLackDirectory),
            ignoresFailure ? .isIgnored : keepsFailure ? .isKept : .ends
        )
    }

    /// Renames a file, within its directory or to another one of the same file system.
    @discardableResult
    public mutating func move(_ name: String, in directory: String, to other: String, as newName: String) -> Number {
        append(.move(directory: directory, name: name, toDirectory: other, newName: newName))
    }

    /// Reserves disk space for a file. A failure is ignored.
    public mutating func reserve(_ name: String, in directory: String, byteCount: Int) {
        append(.reserve(directory: directory, name: name, byteCount: byteCount), .isIgnored)
    }

    /// Releases the reserved space of a file. A failure is ignored.
    public mutating func release(_ name: String, in directory: String) {
        remove(Directory.temporaryName(for: name), in: directory, ignoresFailure: true)
    }

    /// Writes into a file of a fixed size, which is created when it is missing. The bytes are durable after
    /// ``synchronizeFile(_:in:)``.
    public mutating func overwrite(
        _ name: String,
        in directory: String,
        at offset: Int,
        _ bytes: [UInt8],
        fileByteCount: Int
    ) {
        append(
            .overwrite(directory: directory, name: name, offset: offset, bytes: bytes, fileByteCount: fileByteCount)
        )
    }

    /// Waits until the content of a file is on disk.
    public mutating func synchronizeFile(_ name: String, in directory: String) {
        append(.synchronizeFile(directory: directory, name: name))
    }

    /// Reads a part of a file. One read a list.
    public mutating func read(_ name: String, in directory: String, at offset: Int, byteCount: Int) {
        append(.read(directory: directory, name: name, offset: offset, byteCount: byteCount))
    }

    /// The number of bytes that are read.
    var readByteCount: Int {
        changes.reduce(0) { count, change in
            guard case .read(_, _, _, let byteCount) = change.change else { return count }
            return count + byteCount
        }
    }

    /// Waits until the names in a directory are on disk.
    public mutating func synchronize(_ directory: String) { append(.synchronize(directory: directory)) }

    /// Waits until the names in all changed directories are on disk.
    public mutating func synchronize() { append(.synchronizeAll) }
}

/// The result of changes.
public struct FileResult: Sendable {
    /// For each change, whether it has changed anything. Shorter than the list of changes after a failure.
    public internal(set) var isChanged: [Bool] = []
    public internal(set) var error: SystemError?
    /// What was read.
    public internal(set) var bytes: [UInt8] = []

    /// Whether one of these changes has changed anything.
    public func isChanged(_ numbers: Range<FileChanges.Number>) -> Bool {
        isChanged[numbers.clamped(to: isChanged.indices)].contains(true)
    }

    /// Throws the first error.
    public func get() throws(SystemError) {
        if let error { throw error }
    }
}

// MARK: Making them

extension FileChanges {
    /// Makes the changes on the calling thread. Uses no object of another thread.
    package func perform() -> FileResult {
        var result = FileResult()
        var kept: SystemError?
        let names = DirectorySync()
        for (change, failing) in changes {
            if kept != nil, failing != .isKept { break }
            do throws(SystemError) {
                result.isChanged.append(try change.perform(names, &result.bytes))
            } catch {
                guard failing != .ends else {
                    result.error = error
                    return result
                }
                result.isChanged.append(false)
                if failing == .isKept { kept = kept ?? error }
            }
        }
        result.error = kept
        return result
    }
}

extension FileChanges.Change {
    /// True when it has changed anything.
    fileprivate func perform(_ names: DirectorySync, _ read: inout [UInt8]) throws(SystemError) -> Bool {
        switch self {
        case .write(let path, let name, let bytes, let mode, let unlessEqual):
            let directory = try Directory(path)
            // Comparing first preserves the modification time, by which systemd decides whether its copy is stale.
            if unlessEqual, Self.holds(directory, name, bytes, mode) { return false }
            try directory.write(name, bytes, mode: mode, with: names)
        case .link(let path, let name, let target):
            let directory = try Directory(path, creatingWithMode: 0o755)
            guard directory.linkTarget(name) != target else { return false }
            try directory.link(name, to: target, with: names)
        case .remove(let path, let name, let mayLackDirectory):
            do throws(SystemError) {
                let directory = try Directory(path)
                guard try directory.remove(name) else { return false }
                try directory.synchronize(with: names)
            } catch let error where error.isNotFound && mayLackDirectory {
                return false
            }
        case .move(let path, let name, let other, let newName):
            do throws(SystemError) {
                if path == other {
                    try Directory(path).rename(name, to: newName)
                } else {
                    try Directory(path).move(name, to: Directory(other), as: newName)
                }
            } catch let error where error.isNotFound {
                return false
            }
        case .reserve(let path, let name, let byteCount): try Directory(path).reserve(byteCount, for: name)
        case .overwrite(let path, let name, let offset, let bytes, let fileByteCount):
            try Directory(path).overwrite(name, at: offset, bytes, fileByteCount: fileByteCount)
        case .synchronizeFile(let path, let name): try Directory(path).synchronizeFile(name)
        case .read(let path, let name, let offset, let byteCount):
            read = try Directory(path).read(name, at: offset, byteCount: byteCount)
        case .synchronize(let path): try Directory(path).synchronize()
        case .synchronizeAll: try names.synchronize()
        }
        return true
    }

    /// Whether the file has that content and mode; false for one that is too long or not regular, which is then
    /// replaced.
    private static func holds(
        _ directory: borrowing Directory,
        _ name: String,
        _ bytes: [UInt8],
        _ mode: UInt32
    ) -> Bool {
        do throws(SystemError) {
            let isSame = try directory.read(name, limitBytes: bytes.count) == bytes
            return isSame ? try directory.mode(of: name) == mode : false
        } catch {
            return false
        }
    }
}

// MARK: Bytes for another thread

/// Changes and results as plain bytes: data for another thread has to be a copy, because the agent is compiled with
/// reference counts that are not atomic.
extension FileChanges {
    func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.append(changes.count)
        for (change, failing) in changes {
            writer.append(Int(failing.rawValue))
            switch change {
            case .write(let directory, let name, let bytes, let mode, let unlessEqual):
                writer.append(0)
                writer.append(directory)
                writer.append(name)
                writer.append(bytes)
                writer.append(Int(mode))
                writer.append(unlessEqual ? 1 : 0)
            case .link(let directory, let name, let target):
                writer.append(1)
                for text in [directory, name, target] { writer.append(text) }
            case .remove(let directory, let name, let mayLackDirectory):
                writer.append(2)
                for text in [directory, name] { writer.append(text) }
                writer.append(mayLackDirectory ? 1 : 0)
            case .move(let directory, let name, let toDirectory, let newName):
                writer.append(3)
                for text in [directory, name, toDirectory, newName] { writer.append(text) }
            case .reserve(let directory, let name, let byteCount):
                writer.append(4)
                for text in [directory, name] { writer.append(text) }
                writer.append(byteCount)
            case .synchronize(let directory):
                writer.append(5)
                writer.append(directory)
            case .synchronizeAll: writer.append(6)
            case .overwrite(let directory, let name, let offset, let bytes, let fileByteCount):
                writer.append(7)
                for text in [directory, name] { writer.append(text) }
                writer.append(offset)
                writer.append(bytes)
                writer.append(fileByteCount)
            case .synchronizeFile(let directory, let name):
                writer.append(8)
                for text in [directory, name] { writer.append(text) }
            case .read(let directory, let name, let offset, let byteCount):
                writer.append(9)
                for text in [directory, name] { writer.append(text) }
                for integer in [offset, byteCount] { writer.append(integer) }
            }
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) {
        var reader = ByteReader(bytes)
        for _ in 0..<reader.integer() {
            let failing = Failing(rawValue: UInt8(reader.integer())) ?? .ends
            let change: Change
            switch reader.integer() {
            case 0:
                change = .write(
                    directory: reader.text(),
                    name: reader.text(),
                    bytes: reader.bytes(),
                    mode: UInt32(reader.integer()),
                    unlessEqual: reader.integer() == 1
                )
            case 1: change = .link(directory: reader.text(), name: reader.text(), target: reader.text())
            case 2:
                change = .remove(
                    directory: reader.text(),
                    name: reader.text(),
                    mayLackDirectory: reader.integer() == 1
                )
            case 3:
                change = .move(
                    directory: reader.text(),
                    name: reader.text(),
                    toDirectory: reader.text(),
                    newName: reader.text()
                )
            case 4: change = .reserve(directory: reader.text(), name: reader.text(), byteCount: reader.integer())
            case 5: change = .synchronize(directory: reader.text())
            case 7:
                change = .overwrite(
                    directory: reader.text(),
                    name: reader.text(),
                    offset: reader.integer(),
                    bytes: reader.bytes(),
                    fileByteCount: reader.integer()
                )
            case 8: change = .synchronizeFile(directory: reader.text(), name: reader.text())
            case 9:
                change = .read(
                    directory: reader.text(),
                    name: reader.text(),
                    offset: reader.integer(),
                    byteCount: reader.integer()
                )
            default: change = .synchronizeAll
            }
            changes.append((change, failing))
        }
    }
}

extension FileResult {
    func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.append(isChanged.map { $0 ? 1 : 0 })
        writer.append(Int(error?.code ?? 0))
        writer.append(error?.call ?? "")
        writer.append(bytes)
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) {
        var reader = ByteReader(bytes)
        isChanged = reader.bytes().map { $0 == 1 }
        let code = CInt(reader.integer())
        let call = reader.text()
        if code != 0 { error = SystemError(call: call, code: code) }
        self.bytes = reader.bytes()
    }
}

private struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func append(_ integer: Int) {
        unsafe withUnsafeBytes(of: integer) { unsafe bytes.append(contentsOf: $0) }
    }

    mutating func append(_ text: String) { append(Array(text.utf8)) }

    mutating func append(_ other: [UInt8]) {
        append(other.count)
        bytes.append(contentsOf: other)
    }
}

/// Reads what ``ByteWriter`` has written in this process.
private struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func integer() -> Int {
        let size = MemoryLayout<Int>.size
        defer { rest = rest.dropFirst(size) }
        return unsafe rest.withUnsafeBytes { unsafe $0.loadUnaligned(as: Int.self) }
    }

    mutating func bytes() -> [UInt8] {
        let count = integer()
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func text() -> String { String(decoding: bytes(), as: UTF8.self) }
}
