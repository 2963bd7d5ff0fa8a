import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite struct DirectoryTests {
    private let temporary: TemporaryDirectory

    private var path: String { temporary.path }

    init() throws { temporary = try TemporaryDirectory() }

    private func status(_ name: String = ".") throws -> stat {
        var status = stat()
        try checkErrno("lstat") { lstat(path + "/" + name, &status) }
        return status
    }

    private func modified(_ name: String = ".") throws -> WallClock { WallClock(try status(name).st_mtim) }

    private func setModified(_ name: String, secondsFromNow: Int) throws {
        let time = timespec(
            tv_sec: Int(WallClock.now().microseconds / 1_000_000) + secondsFromNow,
            tv_nsec: 123_456_789
        )
        try checkErrno("utimensat") { utimensat(AT_FDCWD, path + "/" + name, [time, time], AT_SYMLINK_NOFOLLOW) }
    }

    private func errorCode(_ body: () throws(SystemError) -> Void) -> CInt? {
        do throws(SystemError) {
            try body()
            return nil
        } catch {
            return error.code
        }
    }

    private func mountMemory(options: String) throws {
        let isReadOnly = options == "ro"
        try checkErrno("mount") {
            mount("none", path, "tmpfs", isReadOnly ? UInt(MS_RDONLY) : 0, isReadOnly ? nil : options)
        }
    }

    private func unmount() { umount2(path, CInt(MNT_DETACH)) }

    // MARK: Writing

    @Test func `a file is written whole with its mode and nothing else is left`() throws {
        let directory = try Directory(path)
        // Modes are not the umask's to change.
        try directory.write("a", Array("content".utf8), mode: 0o666)
        #expect(try directory.read("a", limitBytes: 100) == Array("content".utf8))
        #expect(try status("a").st_mode == S_IFREG | 0o666)
        try directory.write("a", [], mode: 0o600)
        #expect(try directory.read("a", limitBytes: 100) == [])
        #expect(try status("a").st_mode == S_IFREG | 0o600)
        #expect(try directory.names() == ["a"])
    }

    @Test func `a large file is written and read in pieces`() throws {
        let directory = try Directory(path)
        let bytes = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        try directory.write("large", bytes, mode: 0o600)
        #expect(try directory.read("large", limitBytes: bytes.count) == bytes)
    }

    @Test func `whoever has the old file open keeps the old content`() throws {
        let directory = try Directory(path)
        try directory.write("a", Array("old".utf8), mode: 0o600)
        let old = open(path + "/a", O_RDONLY)
        defer { close(old) }
        try directory.write("a", Array("newer".utf8), mode: 0o600)
        var buffer = [UInt8](repeating: 0, count: 16)
        let count = read(old, &buffer, buffer.count)
        #expect(buffer.prefix(max(0, count)) == Array("old".utf8)[...])
    }

    @Test func `a temporary file that a crash left is replaced`() throws {
        let directory = try Directory(path)
        try directory.write(Directory.temporaryName(for: "a"), Array("left".utf8), mode: 0o644)
        try directory.write("a", Array("new".utf8), mode: 0o600)
        #expect(try directory.names() == ["a"])
        #expect(try directory.read("a", limitBytes: 10) == Array("new".utf8))
    }

    @Test func `what cannot be put in place leaves no temporary file`() throws {
        let directory = try Directory(path)
        try checkErrno("mkdir") { mkdir(path + "/a", 0o700) }
        #expect(errorCode { () throws(SystemError) in try directory.write("a", [1], mode: 0o600) } == EISDIR)
        #expect(try directory.names() == ["a"])
    }

    @Test func `the end of a file is read`() throws {
        let directory = try Directory(path)
        try directory.write("a", Array("content".utf8), mode: 0o600)
        #expect(try directory.readEnd(of: "a", byteCount: 3) == Array("ent".utf8))
        #expect(try directory.readEnd(of: "a", byteCount: 7) == Array("content".utf8))
        #expect(try directory.readEnd(of: "a", byteCount: 100) == Array("content".utf8))
        #expect(try directory.readEnd(of: "none", byteCount: 3) == nil)
    }

    @Test func `every write gives the file a newer time`() throws {
        let directory = try Directory(path)
        var previous: WallClock?
        for index in 0..<200 {
            try directory.write("a", [UInt8(index)], mode: 0o600)
            let time = try modified("a")
            if let previous { #expect(time > previous) }
            previous = time
        }
    }

    @Test(arguments: [3600, 86_400 * 400])
    func `a file from the future is replaced by a newer one`(secondsFromNow: Int) throws {
        let directory = try Directory(path)
        try directory.write("a", [1], mode: 0o600)
        try setModified("a", secondsFromNow: secondsFromNow)
        let before = try modified("a")
        try directory.write("a", [2], mode: 0o600)
        #expect(try modified("a") > before)
        #expect(try modified("a").microseconds - before.microseconds <= 1)
    }

    @Test func `a file from the past is replaced by one of now`() throws {
        let directory = try Directory(path)
        try directory.write("a", [1], mode: 0o600)
        try setModified("a", secondsFromNow: -3600)
        let before = WallClock.now()
        try directory.write("a", [2], mode: 0o600)
        #expect(try modified("a") >= before)
        #expect(try modified("a") <= WallClock.now())
    }

    @Test func `every write and every link gives the directory another time`() throws {
        let directory = try Directory(path)
        var times: Set<WallClock> = [try modified()]
        for index in 0..<200 {
            if index.isMultiple(of: 2) {
                try directory.write("a", [UInt8(index)], mode: 0o600)
            } else {
                try directory.link("b", to: "a")
            }
            #expect(times.insert(try modified()).inserted)
            // Not the kernel's stamp, which older kernels renew some hundred times a second only.
            #expect(try status().st_mtim.tv_nsec % 1000 == 0)
        }
    }

    @Test func `a full disk leaves the old file and no other`() throws {
        try mountMemory(options: "size=64k")
        defer { unmount() }
        let directory = try Directory(path)
        try directory.write("a", Array("old".utf8), mode: 0o600)
        let error = #expect(throws: SystemError.self) {
            try directory.write("a", [UInt8](repeating: 1, count: 256 * 1024), mode: 0o600)
        }
        #expect(error?.isStorageFull == true)
        #expect(error?.code == ENOSPC)
        #expect(try directory.names() == ["a"])
        #expect(try directory.read("a", limitBytes: 100) == Array("old".utf8))
    }

    @Test func `room that is reserved is there when the disk is full`() throws {
        try mountMemory(options: "size=64k")
        defer { unmount() }
        let directory = try Directory(path)
        let size = 16 * 1024
        try directory.reserve(size, for: "a")
        let error = #expect(throws: SystemError.self) { try directory.reserve(64 * 1024, for: "b") }
        #expect(error?.isStorageFull == true)
        #expect(try directory.names() == [".a.tmp"])
        try directory.write("b", [UInt8](repeating: 1, count: 48 * 1024), mode: 0o600)
        #expect(throws: SystemError.self) { try directory.write("c", [1], mode: 0o600) }
        try directory.write("a", [UInt8](repeating: 1, count: size), mode: 0o600)
        #expect(try directory.names().sorted() == ["a", "b"])
    }

    @Test func `room that is given back is free`() throws {
        let directory = try Directory(path)
        for _ in 0..<2 { try directory.reserve(4096, for: "a") }
        #expect(try status(".a.tmp").st_size == 4096)
        for _ in 0..<2 { try directory.release("a") }
        #expect(try directory.names().isEmpty)
    }

    @Test func `a read-only file system counts as full storage`() throws {
        try mountMemory(options: "ro")
        defer { unmount() }
        let directory = try Directory(path)
        let error = #expect(throws: SystemError.self) { try directory.write("a", [1], mode: 0o600) }
        #expect(error?.isStorageFull == true)
        #expect(error?.code == EROFS)
    }

    // MARK: Reading

    @Test func `a file that is absent reads as nothing`() throws {
        #expect(try Directory(path).read("absent", limitBytes: 10) == nil)
    }

    @Test(arguments: [(0, 0), (1, 1), (4096, 4096), (100_000, 100_000), (5, 6)])
    func `a file of the limit is read`(count: Int, limit: Int) throws {
        let directory = try Directory(path)
        let bytes = [UInt8](repeating: 7, count: count)
        try directory.write("a", bytes, mode: 0o600)
        #expect(try directory.read("a", limitBytes: limit) == bytes)
    }

    @Test(arguments: [0, 1, 4096, 100_000])
    func `a file of one byte more than the limit is refused`(limit: Int) throws {
        let directory = try Directory(path)
        try directory.write("a", [UInt8](repeating: 7, count: limit + 1), mode: 0o600)
        #expect(errorCode { () throws(SystemError) in _ = try directory.read("a", limitBytes: limit) } == EFBIG)
    }

    @Test func `a link in place of a file is not followed`() throws {
        let directory = try Directory(path)
        try directory.write("secret", Array("secret".utf8), mode: 0o600)
        try directory.link("a", to: path + "/secret")
        #expect(errorCode { () throws(SystemError) in _ = try directory.read("a", limitBytes: 100) } == ELOOP)
        try directory.write("a", Array("own".utf8), mode: 0o644)
        #expect(try directory.read("secret", limitBytes: 100) == Array("secret".utf8))
        #expect(try status("secret").st_mode == S_IFREG | 0o600)
        #expect(try directory.read("a", limitBytes: 100) == Array("own".utf8))
    }

    @Test func `a link in place of the temporary file is not followed`() throws {
        let directory = try Directory(path)
        try directory.write("secret", Array("secret".utf8), mode: 0o600)
        try checkErrno("symlink") { symlink(path + "/secret", path + "/" + Directory.temporaryName(for: "a")) }
        try directory.write("a", Array("own".utf8), mode: 0o600)
        #expect(try directory.read("secret", limitBytes: 100) == Array("secret".utf8))
        #expect(try directory.read("a", limitBytes: 100) == Array("own".utf8))
    }

    @Test func `a link in place of the directory is not followed`() throws {
        try checkErrno("mkdir") { mkdir(path + "/real", 0o700) }
        try checkErrno("symlink") { symlink("real", path + "/link") }
        let link = path + "/link"
        #expect([ELOOP, ENOTDIR].contains(errorCode { () throws(SystemError) in _ = try Directory(link) } ?? 0))
        let create = errorCode { () throws(SystemError) in _ = try Directory(link, creatingWithMode: 0o700) }
        #expect([ELOOP, ENOTDIR].contains(create ?? 0))
    }

    @Test func `a FIFO in place of a file is refused without waiting for a writer`() throws {
        try checkErrno("mkfifo") { mkfifo(path + "/a", 0o600) }
        let directory = try Directory(path)
        #expect(errorCode { () throws(SystemError) in _ = try directory.read("a", limitBytes: 10) } == EINVAL)
        try directory.write("a", [1], mode: 0o600)
        #expect(try directory.read("a", limitBytes: 10) == [1])
    }

    @Test func `a directory in place of a file is refused`() throws {
        try checkErrno("mkdir") { mkdir(path + "/a", 0o700) }
        let directory = try Directory(path)
        #expect(errorCode { () throws(SystemError) in _ = try directory.read("a", limitBytes: 10) } == EINVAL)
    }

    // MARK: Names

    @Test func `links are made, read, replaced and removed`() throws {
        let directory = try Directory(path)
        #expect(directory.linkTarget("link") == nil)
        try directory.link("link", to: "/somewhere/é")
        #expect(directory.linkTarget("link") == "/somewhere/é")
        try directory.link("link", to: "/elsewhere")
        #expect(directory.linkTarget("link") == "/elsewhere")
        try directory.write("file", [1], mode: 0o600)
        #expect(directory.linkTarget("file") == nil)
        try directory.link("file", to: "target")
        #expect(directory.linkTarget("file") == "target")
        #expect(try directory.names().sorted() == ["file", "link"])
        #expect(try directory.remove("link"))
        #expect(try !directory.remove("link"))
        #expect(try directory.names() == ["file"])
    }

    @Test func `a file gets another name in place of whatever has it`() throws {
        let directory = try Directory(path)
        try directory.write("a", [1], mode: 0o600)
        try directory.write("b", [2], mode: 0o600)
        try directory.rename("a", to: "b")
        #expect(try directory.names() == ["b"])
        #expect(try directory.read("b", limitBytes: 10) == [1])
        #expect(errorCode { () throws(SystemError) in try directory.rename("a", to: "c") } == ENOENT)
    }

    @Test func `names of every kind are listed, twice the same`() throws {
        let directory = try Directory(path)
        let names = ["plain", ".hidden", "with space", "né", String(repeating: "n", count: 250)]
        for name in names { try directory.write(name, [], mode: 0o600) }
        for _ in 0..<2 { #expect(try directory.names().sorted() == names.sorted()) }
    }

    @Test func `a directory is made when it is missing, with its mode, and opened when it is there`() throws {
        let new = path + "/new"
        let made = try Directory(new, creatingWithMode: 0o700)
        try made.write("a", [1], mode: 0o600)
        #expect(try status("new").st_mode == S_IFDIR | 0o700)
        let again = try Directory(new, creatingWithMode: 0o755)
        #expect(try again.names() == ["a"])
        let orphan = path + "/absent/new"
        let code = errorCode { () throws(SystemError) in _ = try Directory(orphan, creatingWithMode: 0o700) }
        #expect(code == ENOENT)
    }

    @Test func `what is no directory cannot be opened as one`() throws {
        try Directory(path).write("file", [], mode: 0o600)
        let file = path + "/file"
        #expect(errorCode { () throws(SystemError) in _ = try Directory(file) } == ENOTDIR)
        let absent = path + "/absent"
        #expect(errorCode { () throws(SystemError) in _ = try Directory(absent) } == ENOENT)
    }

    @Test func `changes that are made durable together are there at once`() throws {
        let directory = try Directory(path)
        let changes = DirectorySync()
        try directory.write("a", Array("x".utf8), mode: 0o600, with: changes)
        try directory.link("b", to: "a", with: changes)
        #expect(try directory.read("a", limitBytes: 1) == Array("x".utf8))
        #expect(directory.linkTarget("b") == "a")
        try changes.synchronize()
        // The directory's own descriptor is not needed any more, nor is the directory.
        try directory.write("c", [], mode: 0o600, with: changes)
        for name in ["a", "b", "c"] { try directory.remove(name) }
        try changes.synchronize()
        #expect(try directory.names().isEmpty)
    }

    @Test func `changes of which one cannot be made durable fail, and so they do from then on`() throws {
        let changes = DirectorySync()
        // What is there has no disk.
        let place = "/proc/sys/fs"
        try changes.add(try Directory(place))
        #expect(errorCode { () throws(SystemError) in try changes.synchronize() } == EINVAL)
        // The kernel tells an error once: from then on it is as if the directory were a good one.
        let good = try Directory(path).duplicateDescriptor()
        let descriptors = try Directory("/proc/self/fd")
        let name = try descriptors.names().first { descriptors.linkTarget($0) == place }
        let bad = try #require(name.flatMap { CInt($0) })
        try checkErrno("dup2") { dup2(good.raw, bad) }
        #expect(errorCode { () throws(SystemError) in try changes.synchronize() } == EINVAL)
    }

    @Test func `a directory is locked for one at a time`() throws {
        let parent = try TemporaryDirectory()
        let path = parent.path + "/locked"
        var lock = try DirectoryLock(path, creatingWithMode: 0o700)
        #expect(lock != nil)
        #expect(try DirectoryLock(path, creatingWithMode: 0o700) == nil)
        lock = nil
        #expect(try DirectoryLock(path, creatingWithMode: 0o700) != nil)
        #expect(throws: SystemError.self) { try DirectoryLock(path + "/a/b", creatingWithMode: 0o700) }
    }
}
