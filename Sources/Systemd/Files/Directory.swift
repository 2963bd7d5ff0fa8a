internal import CSystemd
internal import Glibc

/// The identity of a file, independent of its name: stat(3).
public struct FileIdentity: Equatable, Sendable {
    private let device: UInt
    private let inode: UInt
    /// Inode numbers are reused.
    private let changed: WallClock

    /// The file at a path; a final symbolic link is not followed. Nil when there is none.
    public init?(_ path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        device = UInt(status.st_dev)
        inode = UInt(status.st_ino)
        changed = WallClock(status.st_ctim)
    }
}

/// An open directory, in which files are written completely or not at all.
///
/// Names are single components; a symbolic link in the last place of a path or in place of a file is never followed.
/// Open one for each operation instead of keeping it: systemctl removes and creates directories below
/// /etc/systemd/system, and a kept descriptor would refer to the removed one.
public struct Directory: ~Copyable {
    private let descriptor: FileDescriptor

    /// Opens an existing directory.
    public init(_ path: String) throws(SystemError) {
        descriptor = FileDescriptor(
            adopting: try checkErrno("open") {
                unsafe open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            }
        )
    }

    /// Opens a directory, and creates it durably when it is missing. Its parent must exist.
    public init(_ path: String, creatingWithMode mode: UInt32) throws(SystemError) {
        do throws(SystemError) {
            try checkErrno("mkdir") { unsafe mkdir(path, mode_t(mode)) }
        } catch let error where error.code == EEXIST {
            self = try Directory(path)
            return
        }
        let parent = path.split(separator: "/").dropLast().joined(separator: "/")
        try Directory(path.hasPrefix("/") ? "/" + parent : parent.isEmpty ? "." : parent).synchronize()
        self = try Directory(path)
    }

    /// The names of all entries but "." and "..", unordered.
    public func names() throws(SystemError) -> [String] {
        // fdopendir(3) takes ownership of the descriptor and moves its offset, so it gets another one.
        let own = try checkErrno("openat") { unsafe openat(descriptor.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard let stream = unsafe fdopendir(own) else {
            let code = errno
            close(own)
            throw SystemError(call: "fdopendir", code: code)
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw SystemError(call: "readdir", code: errno) }
                return names
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    /// The content of a regular file; nil when there is none of that name. A file over `limitBytes` is EFBIG.
    public func read(_ name: String, limitBytes: Int) throws(SystemError) -> [UInt8]? {
        guard let file = try openExisting(name) else { return nil }
        var status = stat()
        try checkErrno("fstat") { unsafe fstat(file.raw, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SystemError(call: "openat", code: EINVAL) }
        guard status.st_size <= limitBytes else { throw SystemError(call: "openat", code: EFBIG) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(status.st_size) + 1)
        var chunk = [UInt8](repeating: 0, count: min(64 * 1024, Int(status.st_size) + 1))
        while true {
            let count = try checkErrno("read") {
                unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(file.raw, $0.baseAddress, $0.count) }
            }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            // The file may have grown since fstat.
            guard bytes.count <= limitBytes else { throw SystemError(call: "read", code: EFBIG) }
        }
    }

    /// A part of a regular file; less at its end. A missing file is ENOENT.
    public func read(_ name: String, at offset: Int, byteCount: Int) throws(SystemError) -> [UInt8] {
        guard let file = try openExisting(name) else { throw SystemError(call: "openat", code: ENOENT) }
        var bytes = [UInt8](repeating: 0, count: byteCount)
        var count = 0
        while count < byteCount {
            let more = try checkErrno("pread") {
                unsafe bytes.withUnsafeMutableBytes {
                    unsafe pread(file.raw, $0.baseAddress! + count, byteCount - count, off_t(offset + count))
                }
            }
            if more == 0 { break }
            count += more
        }
        return Array(bytes.prefix(count))
    }

    /// The last bytes of a regular file, at most `byteCount`; nil when there is none of that name.
    public func readEnd(of name: String, byteCount: Int) throws(SystemError) -> [UInt8]? {
        guard let file = try openExisting(name) else { return nil }
        var status = stat()
        try checkErrno("fstat") { unsafe fstat(file.raw, &status) }
        return try read(name, at: max(0, Int(status.st_size) - byteCount), byteCount: byteCount)
    }

    /// Writes into a file that has all of its space, `fileByteCount` bytes, before anything is written into it; it is
    /// created, for root alone, when it is missing. Not durable before ``synchronizeFile(_:)``.
    public func overwrite(
        _ name: String,
        at offset: Int,
        _ bytes: [UInt8],
        fileByteCount: Int
    ) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let file = FileDescriptor(
            adopting: try checkErrno("openat") { unsafe openat(descriptor.raw, name, flags, 0o600) }
        )
        FaultPoint.pass()
        var status = stat()
        try checkErrno("fstat") { unsafe fstat(file.raw, &status) }
        if status.st_size < fileByteCount {
            try file.allocate(fileByteCount)
            FaultPoint.pass()
            try file.synchronize()
            try synchronize()
        }
        var count = 0
        while count < bytes.count {
            count += try checkErrno("pwrite") {
                unsafe bytes.withUnsafeBytes {
                    unsafe pwrite(file.raw, $0.baseAddress! + count, bytes.count - count, off_t(offset + count))
                }
            }
            FaultPoint.pass()
        }
    }

    /// Makes the content of a file durable: fdatasync(2). It may be missing.
    public func synchronizeFile(_ name: String) throws(SystemError) {
        guard let file = try openExisting(name) else { return }
        try checkErrno("fdatasync") { fdatasync(file.raw) }
    }

    /// The permissions of a file; nil when there is none of that name.
    public func mode(of name: String) throws(SystemError) -> UInt32? {
        try status(of: name).map { UInt32($0.st_mode & 0o7777) }
    }

    /// Whether an account other than this process's and root could have written a file.
    public func isWritableByOthers(_ name: String) throws(SystemError) -> Bool {
        guard let status = try status(of: name) else { return false }
        return ![0, geteuid()].contains(status.st_uid) || status.st_mode & (S_IWGRP | S_IWOTH) != 0
    }

    /// Throws the reason why this process cannot change the directory, such as EROFS.
    public func checkWritable() throws(SystemError) {
        try checkErrno("faccessat") { unsafe faccessat(descriptor.raw, ".", W_OK, 0) }
    }

    /// Replaces a file atomically and durably: after a crash at any instruction the name has the old or the new
    /// content. With `changes` it may be the old one until those are synchronized.
    ///
    /// The new file's modification time is newer than the old one's and the directory's is now, to the microsecond:
    /// systemd compares both and would otherwise miss a change made within one tick of the kernel's clock.
    public func write(
        _ name: String,
        _ bytes: [UInt8],
        mode: UInt32,
        with changes: DirectorySync? = nil
    ) throws(SystemError) {
        let temporary = Directory.temporaryName(for: name)
        do throws(SystemError) {
            try create(temporary, bytes, mode: mode, modifiedAfter: try modificationTime(of: name))
            FaultPoint.pass()
            try checkErrno("renameat") { unsafe renameat(descriptor.raw, temporary, descriptor.raw, name) }
            FaultPoint.pass()
        } catch {
            // The temporary file must not stay; the first error is the one to report.
            _ = try? remove(temporary)
            throw error
        }
        try synchronize(with: changes)
        try touch()
    }

    /// Reserves disk space until a file of that name is written or ``release(_:)`` is called, for a file that has to be
    /// written after the point of no return. A crash leaves a temporary file.
    public func reserve(_ byteCount: Int, for name: String) throws(SystemError) {
        let temporary = Directory.temporaryName(for: name)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let raw = try replacing(temporary) { () throws(SystemError) in
            try checkErrno("openat") { unsafe openat(descriptor.raw, temporary, flags, 0o600) }
        }
        let file = FileDescriptor(adopting: raw)
        FaultPoint.pass()
        do throws(SystemError) {
            try file.allocate(byteCount)
        } catch {
            _ = try? release(name)
            throw error
        }
        FaultPoint.pass()
    }

    /// Releases the reserved space of a file, if any.
    public func release(_ name: String) throws(SystemError) { try remove(Directory.temporaryName(for: name)) }

    /// Makes a symbolic link durably, replacing any link or file of that name.
    public func link(_ name: String, to target: String, with changes: DirectorySync? = nil) throws(SystemError) {
        let temporary = Directory.temporaryName(for: name)
        FaultPoint.pass()
        _ = try replacing(temporary) { () throws(SystemError) in
            try checkErrno("symlinkat") { unsafe symlinkat(target, descriptor.raw, temporary) }
        }
        FaultPoint.pass()
        try checkErrno("renameat") { unsafe renameat(descriptor.raw, temporary, descriptor.raw, name) }
        FaultPoint.pass()
        try synchronize(with: changes)
        try touch()
    }

    /// The target of a symbolic link; nil when the name does not exist or is not a link.
    public func linkTarget(_ name: String) -> String? {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe target.withUnsafeMutableBytes {
            unsafe readlinkat(descriptor.raw, name, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        return count < 0 ? nil : String(decoding: target[..<count], as: UTF8.self)
    }

    /// Removes a file or link, without waiting for the disk. False when there was none.
    @discardableResult
    public func remove(_ name: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try checkErrno("unlinkat") { unsafe unlinkat(descriptor.raw, name, 0) }
            FaultPoint.pass()
            return true
        } catch let error where error.isNotFound {
            return false
        } catch let error where error.code == EROFS && !exists(name) {
            // On a read-only file system the kernel returns EROFS even for a missing name.
            return false
        }
    }

    private func exists(_ name: String) -> Bool {
        unsafe faccessat(descriptor.raw, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT
    }

    /// Renames a file durably, replacing any file of the new name.
    public func rename(_ name: String, to newName: String) throws(SystemError) {
        try checkErrno("renameat") { unsafe renameat(descriptor.raw, name, descriptor.raw, newName) }
        try synchronize()
    }

    /// Moves a file into another directory of the same file system under another name, durably in both.
    public func move(_ name: String, to other: borrowing Directory, as newName: String) throws(SystemError) {
        try checkErrno("renameat") { unsafe renameat(descriptor.raw, name, other.descriptor.raw, newName) }
        FaultPoint.pass()
        try other.synchronize()
        try synchronize()
    }

    /// Makes the names in this directory durable: fsync(2).
    public func synchronize() throws(SystemError) { try descriptor.synchronize() }

    /// The same together with other changes; now when there are none.
    public func synchronize(with changes: DirectorySync?) throws(SystemError) {
        if let changes { try changes.add(self) } else { try synchronize() }
    }

    func duplicateDescriptor() throws(SystemError) -> FileDescriptor {
        FileDescriptor(adopting: try checkErrno("fcntl") { fcntl(descriptor.raw, F_DUPFD_CLOEXEC, 0) })
    }

    /// The temporary name under which a file is written. systemd ignores it in a unit directory.
    public static func temporaryName(for name: String) -> String { ".\(name).tmp" }

    private func openExisting(_ name: String) throws(SystemError) -> FileDescriptor? {
        do throws(SystemError) {
            let opened = try checkErrno("openat") {
                // Without O_NONBLOCK, opening a FIFO in place of the file would block the process.
                unsafe openat(descriptor.raw, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            }
            return FileDescriptor(adopting: opened)
        } catch let error where error.isNotFound {
            return nil
        }
    }

    private func create(
        _ name: String,
        _ bytes: [UInt8],
        mode: UInt32,
        modifiedAfter previous: WallClock?
    ) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let raw = try replacing(name) { () throws(SystemError) in
            try checkErrno("openat") { unsafe openat(descriptor.raw, name, flags, mode_t(mode)) }
        }
        let file = FileDescriptor(adopting: raw)
        FaultPoint.pass()
        // The umask may have cleared bits.
        try checkErrno("fchmod") { fchmod(file.raw, mode_t(mode)) }
        var offset = 0
        while offset < bytes.count {
            offset += try checkErrno("write") {
                unsafe bytes.withUnsafeBytes {
                    unsafe Glibc.write(file.raw, $0.baseAddress! + offset, $0.count - offset)
                }
            }
        }
        var modified = WallClock.now()
        if let previous, modified <= previous { modified = previous.advanced(byMicroseconds: 1) }
        let times = [modified.timespec, modified.timespec]
        try checkErrno("futimens") { unsafe futimens(file.raw, times) }
        try file.synchronize()
    }

    /// Creates a file that must not exist, after removing one that a crash left under that name.
    private func replacing(
        _ name: String,
        _ make: () throws(SystemError) -> CInt
    ) throws(SystemError) -> CInt {
        do throws(SystemError) {
            return try make()
        } catch let error where error.code == EEXIST {
            try remove(name)
            return try make()
        }
    }

    private func modificationTime(of name: String) throws(SystemError) -> WallClock? {
        try status(of: name).map { WallClock($0.st_mtim) }
    }

    private func status(of name: String) throws(SystemError) -> stat? {
        var status = stat()
        do throws(SystemError) {
            try checkErrno("fstatat") { unsafe fstatat(descriptor.raw, name, &status, AT_SYMLINK_NOFOLLOW) }
        } catch let error where error.isNotFound {
            return nil
        }
        return status
    }

    /// Sets the directory's modification time to now, with the precision that the kernel's own stamp lacks. Throws
    /// EROFS where nothing in it could be changed either.
    public func touch() throws(SystemError) {
        let now = WallClock.now().timespec
        let times = [now, now]
        try checkErrno("futimens") { unsafe futimens(descriptor.raw, times) }
    }
}
